"""The benchmarks' load generator: what is late because an answer before was slow counts."""

import asyncio
from contextlib import suppress

import pytest

from benchmarks.load import Load, Post, load, request_bytes

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SLOW_SECONDS = 0.4


async def asked(rate: float | None, connections: int, status: bytes = b"200") -> tuple[Load, list[bytes]]:
    """For .6 s, of a server whose first answer is slow; what it was asked for."""
    paths: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # the client is done
            while True:
                paths.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
                if len(paths) == 1:
                    await asyncio.sleep(SLOW_SECONDS)
                writer.write(ANSWER.replace(b"200", status))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        return await load(port, ["/a", "/b"], connections, 0.6, rate), paths


async def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    found, _ = await asked(20, connections=1)
    assert found.requests in (12, 13)
    for number, latency in enumerate(found.latencies[:8]):  # due at 0, .05, .1 ... while the first was answered
        assert latency >= SLOW_SECONDS - 0.05 * number - 0.01


async def test_a_closed_loop_asks_as_soon_as_it_is_answered() -> None:
    found, paths = await asked(None, connections=2)
    assert found.requests == len(paths) > 13
    assert max(found.latencies) >= SLOW_SECONDS
    assert {b"/a", b"/b"} == set(paths)


async def test_another_answer_than_200_ends_it() -> None:
    with pytest.raises(RuntimeError, match="503"):
        await asked(None, connections=1, status=b"503")


def test_a_post_says_how_long_its_body_is() -> None:
    head, body = request_bytes(Post("/a", '{"user": "é"}'.encode())).split(b"\r\n\r\n")
    assert head.startswith(b"POST /a HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
