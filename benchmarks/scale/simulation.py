"""Replicas and shards of Redis, event by event (SimPy): how long requests take at a load.

A replica is one event loop: pieces of work queue for it in the order in which they become ready, while other requests
wait for Redis. Looks at the log of changes are shared, as in service/online.py. A shard is one thread, too; what other
replicas ask of it is drawn from its stationary queue. Times are measured (constants.py), seconds.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import simpy

from benchmarks.scale.held_trace import Need
from benchmarks.scale.times import Times, touched

Floats = npt.NDArray[np.float64]
_AT_ONCE = 1e-9
_BURST_S, _TIMES = 0.1, 10
"""How long in each second a burst is, and how many times as many requests come then."""
Event = Generator[simpy.Event, Any, Any]


class Queue:
    """One thread, first come first served: work that is given to it is done when what came before is.

    `wake`: seconds more of work that comes when there was nothing to do.
    """

    def __init__(self, env: simpy.Environment, wake: float = 0.0) -> None:
        self._env, self._wake, self._free_at, self.busy = env, wake, -1.0, 0.0

    def work(self, seconds: float) -> simpy.Timeout:
        """An event for when it is done."""
        now = self._env.now
        if now - self._free_at > _AT_ONCE:
            seconds += self._wake
        self._free_at = max(now, self._free_at) + seconds
        self.busy += seconds
        return self._env.timeout(self._free_at - now)

    @property
    def backlog(self) -> float:
        """Seconds of work that is waiting or under way."""
        return max(0.0, self._free_at - self._env.now)


@dataclass(frozen=True)
class Layout:
    """So many shards, how long a round trip to one takes, and how many of them a look at the log of changes asks."""

    shards: int
    rtt_s: float
    bytes_a_second: float
    looked_at: int = 1


class Shards:
    """All shards of Redis. `others`: how busy each is with what replicas that are not simulated ask."""

    def __init__(
        self, env: simpy.Environment, layout: Layout, others: float, piece_s: float, rng: np.random.Generator
    ) -> None:
        self._env, self.layout, self._rng = env, layout, rng
        self._free_at_S = np.zeros(layout.shards)
        self._waits = stationary_waits(others, piece_s, rng)
        self.busy = 0.0

    def ask(self, commands: int, seconds: float, transferred: float) -> simpy.Timeout:
        """An event for when the slowest of some commands at as many shards is answered."""
        now, layout = self._env.now, self.layout
        ids = (int(self._rng.integers(layout.shards)) + np.arange(commands)) % layout.shards  # one is as another
        each = seconds / commands + transferred / commands / layout.bytes_a_second
        queued = (
            np.maximum(self._free_at_S[ids] - now, 0.0) + self._waits[self._rng.integers(0, len(self._waits), commands)]
        )
        self._free_at_S[ids] = np.maximum(self._free_at_S[ids], now) + each
        self.busy += seconds
        return self._env.timeout(float(queued.max()) + each + layout.rtt_s)


def stationary_waits(busy: float, piece_s: float, rng: np.random.Generator, count: int = 20_000) -> Floats:
    """What a command finds before it at a shard that is so busy with exponential pieces of work (M/M/1)."""
    return np.where(rng.random(count) < busy, rng.exponential(piece_s / (1 - busy), count), 0.0)


class Replica:
    """One process of the service."""

    def __init__(self, env: simpy.Environment, shards: Shards, times: Times, rng: np.random.Generator) -> None:
        self._env, self._shards, self._times, self._rng = env, shards, times, rng
        self.loop = Queue(env, times.wake)
        self._next_look: simpy.Event | None = None
        self._looking = simpy.Resource(env)

    def answer(self, need: Need) -> Event:
        """A request, from the first byte to the last."""
        times = self._times
        slow = times.factor(need, self._rng)
        yield self.loop.work(slow * times.before_look)
        yield from self._look()
        for phase in times.phases(need):
            commands = max(1, round(touched(phase.keys, self._shards.layout.shards)))
            more = (commands - 1) * times.command
            yield self.loop.work(slow * (phase.before + more / 2))
            yield self._shards.ask(commands, commands * times.command_redis + phase.redis, phase.transferred)
            yield self.loop.work(slow * (phase.after + more / 2))
        yield self.loop.work(slow * times.after_look(need))

    def _look(self) -> Event:
        """Wait for the next look that begins, with all who wait for it."""
        if self._next_look is None:
            self._next_look = self._env.event()
            self._env.process(self._begin_look(self._next_look))
        yield self._next_look

    def _begin_look(self, seen: simpy.Event) -> Event:
        commands = self._shards.layout.looked_at
        half = (self._times.look + (commands - 1) * self._times.command) / 2
        with self._looking.request() as turn:
            yield turn
            yield self.loop.work(half)
            self._next_look = None  # who asks from now on waits for the next one
            yield self._shards.ask(commands, commands * self._times.look_redis, 0)
            yield self.loop.work(half)
        seen.succeed()


Arrivals = Literal["poisson", "even", "burst"]


@dataclass(frozen=True)
class Load:
    """Requests a second and replica, on average; `burst`: ten times as many in a tenth of each second as else."""

    rate: float
    requests: int
    arrivals: Arrivals = "poisson"

    def gaps(self, rng: np.random.Generator) -> Iterator[float]:
        """Seconds between one and the next."""
        if self.arrivals == "even":
            yield from np.full(self.requests, 1 / self.rate).tolist()
            return
        if self.arrivals == "poisson":
            yield from rng.exponential(1 / self.rate, self.requests).tolist()
            return
        second, within = np.divmod(np.cumsum(rng.exponential(1.0, self.requests)), self.rate)
        calm = self.rate / (
            1 - _BURST_S + _TIMES * _BURST_S
        )  # a second; requests until a moment go up by the rate then
        in_burst = within < _TIMES * calm * _BURST_S
        after = np.where(in_burst, within / (_TIMES * calm), _BURST_S + (within - _TIMES * calm * _BURST_S) / calm)
        yield from np.diff(second + after, prepend=0.0).tolist()


@dataclass(frozen=True)
class Outcome:
    """Seconds that each request took, and how busy a replica and a shard were with these requests."""

    seconds: Floats
    replica_busy: float
    shard_busy: float

    def quantile_ms(self, q: float) -> float:
        return 1e3 * float(np.quantile(self.seconds, q))


def simulate(needs: list[Need], load: Load, times: Times, layout: Layout, seed: int, others: float = 0.0) -> Outcome:
    """One replica and all shards; requests need what `needs` says, in its order. The first tenth does not count."""
    rng, env = np.random.default_rng(seed), simpy.Environment()
    shards = Shards(env, layout, others, times.piece(needs, layout.shards), rng)
    replica = Replica(env, shards, times, rng)
    taken: list[tuple[float, float]] = []

    def request(need: Need) -> Event:
        due = env.now
        yield from replica.answer(need)
        taken.append((due, env.now - due))

    def arrive() -> Event:
        start = int(rng.integers(len(needs)))
        for n, gap in enumerate(load.gaps(rng)):
            yield env.timeout(gap)
            env.process(request(needs[(start + n) % len(needs)]))

    env.process(arrive())
    env.run()
    taken.sort()
    seconds = np.array([one for _, one in taken[len(taken) // 10 :]])
    return Outcome(seconds, replica.loop.busy / env.now, shards.busy / env.now / layout.shards)
