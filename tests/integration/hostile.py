"""A service as a process, what must not change in it, and requests that no HTTP library would send."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import create_engine, select

from contract.environment import StoreSettings
from contract.tables import Follow, Tweet, TweetVector, User
from tests.hostile_pictures import GOOD_PNG
from tests.processes import Running, environment_of, service_process

SECONDS = 20
"""Longest wait for any answer."""
MOST_GROWTH = 300_000_000
"""Bytes that the process may have more after a test than at its start."""


@dataclass(frozen=True)
class Target:
    """A running service and its stores, seen from outside."""

    running: Running
    stores: StoreSettings
    client: httpx.Client
    author: str
    reader: str
    memory_at_start: int

    def state(self) -> tuple[Any, ...]:
        """What a refused request must leave as it is."""
        columns = (Tweet.tweet_id, Tweet.author_id, Tweet.text, Tweet.image_key)
        tweets, vectors, users = (
            self.sql(*of) for of in (columns, (TweetVector.tweet_id, TweetVector.version), (User.user_id,))
        )
        files = sorted(path.name for path in (self.stores.var_dir / "images").rglob("*") if path.is_file())
        return tweets, vectors, users, files, self.offered()

    def offered(self) -> set[str]:
        answer = self.client.get(f"/users/{self.reader}/recommendations", params={"k": 100})
        assert answer.status_code == 200, answer.text
        return {item["tweet_id"] for item in answer.json()["items"]}

    def sql(self, *columns: Any) -> list[tuple[Any, ...]]:
        plain = self.stores.sqlalchemy_url.replace("sqlite+aiosqlite", "sqlite")
        engine = create_engine(plain)
        try:
            with engine.connect() as connection:
                return sorted(tuple(row) for row in connection.execute(select(*columns)))
        finally:
            engine.dispose()

    def post(self, image: bytes | None, name: str = "picture", **fields: str) -> httpx.Response:
        files = None if image is None else {"image": (name, image)}
        return self.client.post("/tweets", data={"author_id": self.author} | fields, files=files)

    def multipart(self, body: bytes, content_type: str = "multipart/form-data; boundary=x") -> httpx.Response:
        """A form as its bytes are."""
        return self.client.post("/tweets", content=body, headers={"Content-Type": content_type})

    def raw(self, request: bytes) -> bytes:
        """What the server sends back to some bytes; nothing where it closes without an answer."""
        with self.connected() as connection:
            connection.sendall(request)
            return received(connection)

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        address = urlsplit(self.running.url)
        with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=SECONDS) as connection:
            yield connection


def received(connection: socket.socket) -> bytes:
    """All that comes until the server closes, or until one answer is whole."""
    data = b""
    try:
        while block := connection.recv(65_536):
            data += block
            if whole(data):
                break
    except ConnectionError:
        pass  # closed by the server before it had read everything, which is its right
    return data


def whole(data: bytes) -> bool:
    head, separator, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(separator and lengths) and len(body) >= int(lengths[0].split(b":")[1])


def status(answer: bytes) -> int:
    """Of an answer's first line; 0 where there is none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


def part(name: str, data: bytes, *more: str, filename: str | None = None) -> bytes:
    """One of a form with the boundary x."""
    file = "" if filename is None else f'; filename="{filename}"'
    headers = "\r\n".join([f'Content-Disposition: form-data; name="{name}"{file}', *more])
    return b"--x\r\n" + headers.encode() + b"\r\n\r\n" + data + b"\r\n"


@contextmanager
def target(stores: StoreSettings, log: Path) -> Iterator[Target]:
    with (
        service_process(environment_of(stores), log) as running,
        httpx.Client(base_url=running.url, timeout=SECONDS) as client,
    ):
        outside = Target(running, stores, client, "", "", 0)
        reader, author = outside.sql(Follow.follower_id, Follow.followee_id)[0]
        for warm in range(3):
            assert client.get(f"/users/{reader}/recommendations", params={"k": 1 + warm}).status_code == 200
        yield Target(running, stores, client, author, reader, running.memory)


def check_well(at: Target) -> None:
    """After every test: alive, not grown, and nothing logged that is a fault."""
    assert at.client.get("/health/ready").status_code == 200
    grown = at.running.memory - at.memory_at_start
    assert grown < MOST_GROWTH, f"{grown:,} bytes more than at the start"
    assert '"level": "ERROR"' not in at.running.log.read_text("utf-8")


END = b"--x--\r\n"
IMAGE = part("image", GOOD_PNG, filename="i.png")


def author_part(at: Target) -> bytes:
    return part("author_id", at.author.encode())
