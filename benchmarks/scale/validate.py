"""The simulation beside what was measured: one replica and one Redis at the loads of loads.py."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.scale.constants import Constants
from benchmarks.scale.held_trace import Memory, Need
from benchmarks.scale.shape import Ints
from benchmarks.scale.simulation import Layout, Load, simulate
from benchmarks.scale.times import Times

CASES = {"held": (167, 2_000.0), "read anew": (167, 1.0), "in part": (17, 1.0)}
"""As loads.py has them: tweets of each of 300 authors, of whom each of 200 readers follows 6; HELD_MB."""
_READERS, _AUTHORS, _FOLLOWEES = 200, 300, 6
_REQUESTS = 4_000
_LOCAL = Layout(shards=1, rtt_s=0.0, bytes_a_second=4e9)
"""A socket of the same machine: what it takes is within the processors' times."""


@dataclass(frozen=True)
class Compared:
    """A case at a load: requests a second, then ms, measured and simulated (the mean of the seeds)."""

    case: str
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
                load = Load(rate, _REQUESTS, "even")
                client = 1e-6 * constants["client"]
                outcomes = [simulate(needs, load, times, _LOCAL, seed, client_s=client) for seed in seeds]
                p50, p99 = (float(np.mean([one.quantile_ms(q) for one in outcomes])) for q in (0.5, 0.99))
                yield Compared(case, rate, (found[f"{at}: p50"], found[f"{at}: p99"]), (p50, p99))


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
