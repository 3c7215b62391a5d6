"""One replica and one Redis at several loads, held and read anew: what the simulation is compared with.

    python -m benchmarks.scale --only loads

Open loops of 16 connections at shares of what a closed one reaches. Where HELD_MB is 1 all is dropped again and again.
"""

import asyncio
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from redis import Redis

from benchmarks.load import Load, load
from benchmarks.results import Result, Section, result, table
from benchmarks.scale.cpu import QUIET, pid_of, quiet_rounds
from benchmarks.scale.service_times import FEW, HELD, store_of
from benchmarks.site import Group, Site, made_site, serving

COMMAND = "python -m benchmarks.scale --only loads"
CONNECTIONS = 16
SHARES = (0.25, 0.5, 0.75, 0.9)
_SECONDS, _ROUNDS = 1.5, 4


@dataclass(frozen=True)
class Case:
    """A kind of requests, and the memory that the service may hold them in."""

    name: str
    group: Group
    held_mb: int


CASES = [
    Case("held", HELD, 2_000),
    Case("read anew", HELD, 1),
    Case("in part", FEW, 1),
]


@dataclass(frozen=True)
class Measured:
    """At a rate: medians of the rounds' quantiles, ms."""

    share: float
    rate: float
    p50: float
    p99: float


def measure() -> Section:
    """All cases: two minutes."""
    found: dict[str, list[Measured]] = {}
    with made_site([HELD, FEW]) as site:
        for case in CASES:
            with serving(site.stores, {"HELD_MB": str(case.held_mb)}) as served, store_of(site) as redis:
                found[case.name] = list(by_load(case, served, redis))
    rows = [row for name, points in found.items() for row in _rows(name, points)]
    text = "\n\n".join(
        [
            f"One service, {CONNECTIONS} connections, open loops at shares of a closed one's requests/s; medians of "
            f"{_ROUNDS} rounds of {_SECONDS:g} s in which all else used less than {QUIET:.0%} of a core, or the least, "
            "under `chrt -f 1`, so that others who share the machine wait. *held*: 1,002 candidates; *read anew*: the "
            "same where HELD_MB is 1, so that each request reads all from Redis; *in part*: 102 candidates where "
            "HELD_MB is 1, so that all is dropped every few requests.",
            table(
                ["Case", "Of the closed loop's", "Requests/s", "p50, ms", "p99, ms"],
                [
                    [name, f"{one.share:.0%}", f"{one.rate:,.0f}", f"{one.p50:.2f}", f"{one.p99:.2f}"]
                    for name, points in found.items()
                    for one in points
                ],
            ),
        ]
    )
    return Section("One replica by load", text, rows)


def by_load(case: Case, site: Site, redis: Redis) -> Iterator[Measured]:
    """A closed loop, then open ones."""
    paths, pids = case.group.paths(), (site.process.pid, pid_of(redis))

    def rounds(rate: float | None) -> list[Load]:
        return quiet_rounds(lambda: asyncio.run(load(site.port, paths, CONNECTIONS, _SECONDS, rate)), pids, _ROUNDS)

    asyncio.run(load(site.port, paths, CONNECTIONS, _SECONDS))
    most = statistics.median(one.rate for one in rounds(None))
    for share in SHARES:
        found = rounds(share * most)
        p50, p99 = (statistics.median(one.quantile_ms(q) for one in found) for q in (0.5, 0.99))
        yield Measured(share, share * most, p50, p99)


def _rows(name: str, points: list[Measured]) -> Iterator[Result]:
    for one in points:
        at = f"{name}, {one.share:.0%} of the closed loop"
        yield result(f"{at}: requests", one.rate, "1/s", "", COMMAND, None)
        yield result(f"{at}: p50", one.p50, "ms", "", COMMAND, None)
        yield result(f"{at}: p99", one.p99, "ms", "", COMMAND, None)
