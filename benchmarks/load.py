"""An HTTP load generator in one thread, which parses no more of an answer than it must.

A closed loop finds how many requests a second there can be: each connection asks again as soon as it is answered. An
open loop finds how long they take at a given rate: requests are due by the clock, and what one waits because those
before it were slow counts (no coordinated omission).
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True)
class Post:
    """A request with a body in JSON."""

    path: str
    body: bytes


@dataclass(frozen=True)
class Load:
    """What came of it; seconds of each answered request."""

    requests: int
    seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def quantile_ms(self, q: float) -> float:
        """A quantile of the latencies, in ms."""
        return float(np.quantile(self.latencies, q)) * 1_000


def request_bytes(asked: str | Post) -> bytes:
    """What is sent; a path alone is a GET."""
    if isinstance(asked, str):
        return f"GET {asked} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    head = f"POST {asked.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(asked.body)}\r\n\r\n".encode() + asked.body


def head_of(received: bytes) -> bytes | None:
    """The head of an answer, in lower case, once all of the answer is there."""
    end = received.find(_END_OF_HEAD)
    if end < 0:
        return None
    head = received[:end].lower()
    length = int(head[head.index(_LENGTH) + len(_LENGTH) :].split(b"\r\n", 1)[0])
    return head if len(received) >= end + len(_END_OF_HEAD) + length else None


class _Connection(asyncio.Protocol):
    """Asks the next of some requests until told to stop: at once, or every so many seconds."""

    def __init__(self, asked: Sequence[str | Post], first: int, step: int) -> None:
        self._requests = [request_bytes(one) for one in asked]
        self._next, self._step = first, step
        self._received = b""
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for `start`."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - so asyncio says
        self._transport = transport

    def start(self, due: float, every: float, until: float) -> None:
        """Ask from `due` on; `every` is 0 in a closed loop."""
        self._due, self._every, self._until = due, every, until
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer, then for the next request to be due."""
        self._received += data
        if head_of(self._received) is None:
            return
        if b" 200 " not in self._received[:20]:
            self.done.set_exception(RuntimeError(self._received.decode(errors="replace")))
            self._transport.close()
            return
        now = time.perf_counter()
        self.latencies.append(now - self._counts_from)
        self._received = b""
        self._due = self._due + self._every if self._every else now
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The service must not close it."""
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("the service closed a connection"))

    def _wait(self) -> None:
        if self._due >= self._until:
            self._transport.close()
            self.done.set_result(None)
        elif (seconds := self._due - time.perf_counter()) > 0:
            asyncio.get_running_loop().call_later(seconds, self._ask_in_time)
        else:
            self._ask(self._due)

    def _ask_in_time(self) -> None:
        """Timers are late by up to 1 ms and more, which is none of the service's."""
        self._ask(time.perf_counter())

    def _ask(self, counts_from: float) -> None:
        self._counts_from = counts_from
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += self._step


async def load(
    port: int, asked: Sequence[str | Post], connections: int, seconds: float, rate: float | None = None
) -> Load:
    """Send some requests in turn over so many connections for so long, `rate` times a second (None: a closed loop).

    Raises RuntimeError at an answer but 200.
    """
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda n=n: _Connection(asked, n, connections), "127.0.0.1", port))[1]  # type: ignore[misc]
        for n in range(connections)
    ]
    every = connections / rate if rate else 0.0
    started = time.perf_counter()
    for n, connection in enumerate(made):
        connection.start(started + n * every / connections, every, started + seconds)
    await asyncio.gather(*(connection.done for connection in made))
    latencies = [latency for connection in made for latency in connection.latencies]
    return Load(len(latencies), time.perf_counter() - started, latencies)
