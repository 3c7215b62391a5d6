"""The paths of a request cost no more of Python than they did: counted, not timed (tests/counting.py).

Where one costs more and has a reason to, its number here is changed with it; where it costs less, too: a count may be
off by a tenth. PostgreSQL's driver runs more of Python than SQLite's, of which a thread of its own runs a part.
"""

import sys
from typing import Any

import pytest

from contract.environment import StoreSettings
from tests.counting import fewest_instructions
from tests.integration.running import Network, Service, png

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="counted with Python 3.11's instructions"),
]


async def asked(service: Service, method: str, path: str, body: bytes = b"", content_type: bytes = b"") -> int:
    """The status of a request that comes as the server passes it on."""
    url, _, query = path.partition("?")
    headers = [(b"host", b"127.0.0.1"), (b"content-length", str(len(body)).encode()), (b"content-type", content_type)]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": url,
        "raw_path": url.encode(),
        "query_string": query.encode(),
        "headers": headers if body else headers[:1],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
        "root_path": "",
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await service.app(scope, receive, send)  # type: ignore[arg-type]
    status: int = sent[0]["status"]
    return status


async def counted(service: Service, *requests: tuple[Any, ...]) -> int:
    """The fewest of one of some like requests."""
    left = iter(requests)

    async def work() -> None:
        assert await asked(service, *next(left)) in (200, 201)

    await work()
    return await fewest_instructions(work, len(requests) - 1)


@pytest.fixture
def kind(trained: StoreSettings) -> str:
    return "servers" if trained.redis_url else "embedded"


def near(count: float, kind: str, embedded: int, servers: int) -> bool:
    expected = embedded if kind == "embedded" else servers
    return 0.9 * expected < count < 1.1 * expected


async def test_recommendations(service: Service, kind: str, reader: str) -> None:
    count = await counted(service, *[("GET", f"/users/{reader}/recommendations?k=3")] * 21)
    assert near(count, kind, 15_600, 15_600), count


async def test_a_post(service: Service, kind: str, author: str) -> None:
    form = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, more, value)
        for name, more, value in (
            (b"author_id", b"", author.encode()),
            (b"text", b"", b"Calm lake."),
            (b"image", b'; filename="a.png"\r\nContent-Type: image/png', png()),
        )
    )
    request = ("POST", "/tweets", form + b"--x--\r\n", b"multipart/form-data; boundary=x")
    count = await counted(service, *[request] * 21)
    assert near(count, kind, 151_000, 175_000), count


async def test_a_retweet(service: Service, kind: str, network: Network, reader: str) -> None:
    """Each of another tweet."""
    tweets = sorted(network.offered(reader))[:15]
    count = await counted(service, *[("PUT", f"/users/{reader}/retweets/{tweet}") for tweet in tweets])
    assert near(count, kind, 93_000, 98_000), count
