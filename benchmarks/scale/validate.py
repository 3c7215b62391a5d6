"""The simulation beside what was measured: one replica and one Redis at the loads of loads.py."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import simpy

from benchmarks.scale.constants import Constants
from benchmarks.scale.held_trace import Memory, Need
from benchmarks.scale.shape import Ints
from benchmarks.scale.simulation import Event, Floats, Layout, Queue, Replica, Shards
from benchmarks.scale.times import Times

CASES = {"held": (167, 2_000.0), "read anew": (167, 1.0), "in part": (17, 1.0)}
"""As loads.py has them: tweets of each of 300 authors, of whom each of 200 readers follows 6; HELD_MB."""
TEST = "in part"
"""The case that service times were not taken from; those of the others are of such requests."""
TRUSTED = 0.5
"""Of the most requests a second: beyond it the simulation is not read."""
CONNECTIONS = 16
_READERS, _AUTHORS, _FOLLOWEES = 200, 300, 6
_REQUESTS = 3_000
_TICK_S = 1e-3
"""What asyncio's timers are late by at most: epoll waits for whole milliseconds."""
_LOCAL = Layout(shards=1, rtt_s=0.0, bytes_a_second=4e9)
"""A socket of the same machine: what it takes is within the processors' times."""


@dataclass(frozen=True)
class Compared:
    """A case at a load: a share of the most, requests a second, then ms, measured and simulated (the seeds' mean)."""

    case: str
    share: float
    rate: float
    measured: tuple[float, float]
    simulated: tuple[float, float]


def compare(constants: Constants, seeds: range) -> Iterator[Compared]:
    """All that loads.py has rows of."""
    times = Times(constants)
    for case, (tweets, held_mb) in CASES.items():
        found = constants.named("loads", f"{case}, ")
        needs = list(needs_of(tweets, held_mb))
        for name, rate in found.items():
            if name.endswith(": requests"):
                at = name.removesuffix(": requests")
                runs = [open_loop(needs, rate, times, 1e-6 * constants["client"], seed) for seed in seeds]
                p50, p99 = (float(np.mean([1e3 * np.quantile(one, q) for one in runs])) for q in (0.5, 0.99))
                yield Compared(
                    case, float(at.split("%")[0]) / 100, rate, (found[f"{at}: p50"], found[f"{at}: p99"]), (p50, p99)
                )


def correction(compared: list[Compared]) -> float:
    """How many times the simulated p99 the measured one is, of the case that is a test, at worst; at least 1."""
    tested = [one for one in compared if one.case == TEST and one.share <= TRUSTED]
    return max([1.0, *(one.measured[1] / one.simulated[1] for one in tested)])


def needs_of(tweets: int, held_mb: float) -> Iterator[Need]:
    """Of the readers in turn, once memory was filled."""
    rng = np.random.default_rng(0)
    followed = [rng.choice(_AUTHORS, _FOLLOWEES, replace=False) for _ in range(_READERS)]

    def follows(user: int) -> tuple[Ints, Ints]:
        return followed[user], np.full(_FOLLOWEES, tweets)

    memory = Memory(follows, held_mb)
    for n in range(2 * _READERS + _REQUESTS):
        need = memory.need(0.0, n % _READERS)
        if n >= 2 * _READERS:
            yield need


def open_loop(needs: list[Need], rate: float, times: Times, client_s: float, seed: int) -> Floats:
    """Seconds of each request as benchmarks/load.py sends and counts them: evenly due, by 16 connections of one thread.

    A request waits for the one before it on its connection, and then counts from when it was due; else from when its
    timer went off, with all others that are due by then.
    """
    rng, env = np.random.default_rng(seed), simpy.Environment()
    replica = Replica(env, Shards(env, _LOCAL, 0.0, times.piece(needs), rng), times, rng)
    thread, taken = Queue(env), list[float]()
    waiting = [(n / rate, n) for n in range(CONNECTIONS)]
    woken = env.event()

    def request(n: int, counts_from: float) -> Event:
        nonlocal woken
        yield thread.work(client_s / 2)
        yield from replica.answer(needs[n])
        yield thread.work(client_s / 2)
        taken.append(env.now - counts_from)
        if (following := n + CONNECTIONS) < len(needs):
            due = following / rate
            if due <= env.now:
                env.process(request(following, due))
            else:
                heapq.heappush(waiting, (due, following))
        woken.succeed()
        woken = env.event()

    def timers() -> Event:
        while len(taken) < len(needs):
            while waiting and waiting[0][0] <= env.now:
                env.process(request(heapq.heappop(waiting)[1], env.now))
            if waiting:
                late = env.timeout(math.ceil((waiting[0][0] - env.now) / _TICK_S) * _TICK_S)
                yield late | woken
            else:
                yield woken

    env.process(timers())
    env.run(until=2 * len(needs) / rate + 60)
    return np.array(taken[len(taken) // 10 :])
