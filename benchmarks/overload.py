"""Ten times as many requests as the service can answer: how many it answers still, how fast, and what the others get.

    python -m benchmarks.overload

Requests come by the clock, whatever becomes of those before (an open loop), over many connections. Peak and overload
are measured in turns, in one run; then one key floods, while another asks as much as it did before. Prints Markdown.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import psutil

from benchmarks.load import head_of, load
from benchmarks.read_path import GROUPS
from benchmarks.site import made_site
from contract.environment import StoreSettings
from contract.tables import create_engine
from service.keys import create_key

ROUNDS = 3
TIMES = 10
CONNECTIONS = 400
LIGHT_RATE, LIGHT_CONNECTIONS = 50.0, 10
"""Of the key that does not flood, a second."""


@dataclass
class Came:
    """What came of the requests of a round; seconds from when each was due."""

    answered: list[float] = field(default_factory=list)
    shed: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    late: int = 0
    """Requests that were due before the one before them was answered: asked as soon as it was."""


class _Connection(asyncio.Protocol):
    """Asks at given times."""

    def __init__(
        self, paths: Sequence[str], first_due: float, every: float, until: float, came: Came, key: str | None
    ) -> None:
        told = f"Authorization: Bearer {key}\r\n" if key else ""
        self._requests = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{told}\r\n".encode() for path in paths]
        self._due, self._every, self._until, self._came = first_due, every, until, came
        self._received, self._number = b"", 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait until the first is due."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - so asyncio says
        self._transport = transport
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Count the whole answer, and wait until the next is due."""
        self._received += data
        head = head_of(self._received)
        if head is None:
            return
        seconds = time.perf_counter() - self._asked
        if b" 200 " in self._received[:20]:
            self._came.answered.append(seconds)
        else:
            self._came.shed.append(seconds)
            self._came.without_retry_after += b"retry-after:" not in head
        self._received = b""
        self._due += self._every
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The service must not close it."""
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("the service closed a connection"))

    def _wait(self) -> None:
        now = time.perf_counter()
        if now >= self._until:
            self.done.set_result(None)
            self._transport.close()
        elif self._due <= now:
            self._came.late += 1
            self._due = now
            self._ask()
        else:
            asyncio.get_running_loop().call_later(self._due - now, self._ask)

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._requests[self._number % len(self._requests)])
        self._number += 7


async def flood(
    port: int, paths: Sequence[str], rate: float, connections: int, seconds: float, key: str | None = None
) -> tuple[Came, float]:
    """Ask `rate` times a second over so many connections for so long; how long it took in the end."""
    came, loop = Came(), asyncio.get_running_loop()
    started = time.perf_counter()
    every = connections / rate
    made = [
        await loop.create_connection(
            lambda n=n: _Connection(paths, started + n / rate, every, started + seconds, came, key),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        for n in range(connections)
    ]
    await asyncio.gather(*(connection.done for _, connection in made))
    return came, time.perf_counter() - started


async def beside_a_flood(
    stores: StoreSettings, port: int, paths: Sequence[str], rate: float, connections: int, seconds: float
) -> list[Came]:
    """What comes of a key's few requests: while nobody else asks, and while another key floods."""
    engine = create_engine(stores.sqlalchemy_url)
    light, heavy = [await create_key(engine, name, ["read"]) for name in ("light", "heavy")]
    await engine.dispose()
    alone, _ = await flood(port, paths, LIGHT_RATE, LIGHT_CONNECTIONS, seconds, light)
    (beside, _), _ = await asyncio.gather(
        flood(port, paths, LIGHT_RATE, LIGHT_CONNECTIONS, seconds, light),
        flood(port, paths, rate, connections, seconds, heavy),
    )
    return [alone, beside]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each of the rounds")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--peak-connections", type=int, default=16)
    options = parser.parse_args()
    shares = []
    with made_site(GROUPS[:1]) as site:
        paths = GROUPS[0].paths()
        process = psutil.Process(site.process.pid)
        print("| Peak/s | Asked/s | Answered/s | of peak | p50 | p99 | Shed/s | p50 | p99 | no Retry-After | MB |")
        print("| --- " * 11 + "|")
        for _ in range(ROUNDS):
            peak = asyncio.run(load(site.port, paths, options.peak_connections, options.seconds))
            came, seconds = asyncio.run(
                flood(site.port, paths, TIMES * peak.rate, options.connections, options.seconds)
            )
            good = len(came.answered) / seconds
            shares.append(good / peak.rate)
            ms = [1_000 * np.quantile(some or [0.0], q) for some in (came.answered, came.shed) for q in (0.5, 0.99)]
            asked = (len(came.answered) + len(came.shed)) / seconds
            print(
                f"| {peak.rate:,.0f} | {asked:,.0f} | {good:,.0f} | {shares[-1]:.2f} | {ms[0]:.0f} ms | {ms[1]:.0f} ms "
                f"| {len(came.shed) / seconds:,.0f} | {ms[2]:.0f} ms | {ms[3]:.0f} ms | {came.without_retry_after} "
                f"| {process.memory_info().rss / 1e6:,.0f} |",
                flush=True,
            )
        print(f"\nmedian of the rounds: {statistics.median(shares):.2f} of the peak\n")
        asked = TIMES * peak.rate
        found = asyncio.run(beside_a_flood(site.stores, site.port, paths, asked, options.connections, options.seconds))
        for came, what in zip(found, ("alone", "beside a key that floods"), strict=True):
            p50, p99 = 1_000 * np.quantile(came.answered, [0.5, 0.99])
            print(
                f"{LIGHT_RATE:.0f} requests a second {what}: {len(came.answered)} answered, p50 {p50:.0f} ms, "
                f"p99 {p99:.0f} ms, {len(came.shed)} refused"
            )


if __name__ == "__main__":
    main()
