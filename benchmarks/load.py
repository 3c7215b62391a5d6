"""A closed-loop HTTP load generator in one thread: each connection asks again as soon as it is answered.

It parses no more of an answer than it must, so that what is measured is the service.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


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


def head_of(received: bytes) -> bytes | None:
    """The head of an answer, in lower case, once all of the answer is there."""
    end = received.find(_END_OF_HEAD)
    if end < 0:
        return None
    head = received[:end].lower()
    length = int(head[head.index(_LENGTH) + len(_LENGTH) :].split(b"\r\n", 1)[0])
    return head if len(received) >= end + len(_END_OF_HEAD) + length else None


class _Connection(asyncio.Protocol):
    """Asks the next of some paths until told to stop."""

    def __init__(self, paths: Sequence[str], first: int, step: int, until: float) -> None:
        self._requests = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for path in paths]
        self._next, self._step, self._until = first, step, until
        self._received = b""
        self._asked = 0.0
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - so asyncio says
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer, then ask again."""
        self._received += data
        if head_of(self._received) is None:
            return
        if b" 200 " not in self._received[:20]:
            self.done.set_exception(RuntimeError(self._received.decode(errors="replace")))
            self._transport.close()
            return
        now = time.perf_counter()
        self.latencies.append(now - self._asked)
        self._received = b""
        if now < self._until:
            self._ask()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The service must not close it."""
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("the service closed a connection"))

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += self._step


async def load(port: int, paths: Sequence[str], connections: int, seconds: float) -> Load:
    """Ask for some paths in turn over so many connections for so long. Raises RuntimeError at an answer but 200."""
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    made = [
        await loop.create_connection(
            lambda n=n: _Connection(paths, n, connections, started + seconds),  # type: ignore[misc]  # its default
            "127.0.0.1",
            port,
        )
        for n in range(connections)
    ]
    await asyncio.gather(*(connection.done for _, connection in made))
    latencies = [latency for _, connection in made for latency in connection.latencies]
    return Load(len(latencies), time.perf_counter() - started, latencies)
