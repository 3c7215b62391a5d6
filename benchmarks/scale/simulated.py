"""The simulation's section: beside what was measured, by load and policy, by followees, and what pushing takes.

python -m benchmarks.scale --only simulation
"""

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.results import Result, Section, result
from benchmarks.scale import plots, told
from benchmarks.scale.assumptions import Assumptions
from benchmarks.scale.constants import Constants
from benchmarks.scale.plan import AS_BUILT, PLANNED
from benchmarks.scale.policies import POLICIES, SIZES, Policies, Policy, Reader, by_followees, run_policy
from benchmarks.scale.push import Storm, storm
from benchmarks.scale.shape import Network
from benchmarks.scale.tables import below_name, compared_table, followees_table, policies_table, storms_table
from benchmarks.scale.validate import Compared, compare, correction

COMMAND = "python -m benchmarks.scale --only simulation"
SEEDS = range(3)
BELOW = (1e3, 1e4, 1e5, 1e6, float("inf"))
ENTRIES = (10, 200)
_SEEN_S = 1.0
"""Within which a post is to be in 99 % of the inboxes."""


def measure() -> Section:
    """All of it: some three minutes of one core."""
    constants, assumed = Constants(), Assumptions()
    networks = {name: Network(users, assumed) for name, users in SIZES.items()}
    compared = list(compare(constants, SEEDS))
    off = correction(compared)
    policies = {
        size: {name: run_policy(network, one, constants, off) for name, one in compared_at(size).items()}
        for size, network in networks.items()
    }
    followees = {entries: dict(by_followees(networks["100 M"], constants, entries)) for entries in ENTRIES}
    storms = {size: [storm(network, below, constants, SEEDS) for below in BELOW] for size, network in networks.items()}
    rows = [
        *_compared_rows(compared),
        result("p99 measured of simulated", off, "times", "in part, up to half of the most, at worst", COMMAND, None),
        *_policy_rows(policies, off),
        *_followee_rows(followees),
        *_storm_rows(storms),
    ]
    limit_ms = assumed.p99_ms / off
    text = "\n\n".join(
        [
            "### Beside what was measured",
            told.beside(compared),
            compared_table(compared),
            "### By load and policy",
            told.by_policy(policies, off, assumed),
            policies_table(policies, limit_ms),
            "![p99 by load and policy](scale/load.svg)",
            "### By followees",
            told.by_followees(followees, limit_ms),
            followees_table(followees, limit_ms),
            "![p99 by followees](scale/followees.svg)",
            "### Pushing",
            told.pushing(storms),
            storms_table(storms),
            "![Until a post is seen, by who is pushed](scale/push.svg)",
        ]
    )
    figures = {
        "load.svg": plots.by_load(policies, limit_ms),
        "followees.svg": plots.by_followees(followees, limit_ms),
        "push.svg": plots.by_threshold(
            {size: [(one.below, one.seconds(0.99)) for one in found] for size, found in storms.items()}, _SEEN_S
        ),
    }
    return Section("What was simulated", text, rows, figures)


def compared_at(size: str) -> dict[str, Policy]:
    """All; of the smallest size, which has one shard, as it is built and as it is planned for the others."""
    return POLICIES if size != next(iter(SIZES)) else {name: POLICIES[name] for name in (AS_BUILT, PLANNED)}


def _compared_rows(compared: list[Compared]) -> Iterator[Result]:
    for one in compared:
        for name, measured, simulated in zip(("p50", "p99"), one.measured, one.simulated, strict=True):
            against = f"{measured:.2f} ms measured"
            yield result(f"{one.case}, {one.rate:,.0f}/s: {name}", simulated, "ms", against, COMMAND, None)


def _policy_rows(policies: Policies, off: float) -> Iterator[Result]:
    for size, by_policy in policies.items():
        for name, one in by_policy.items():
            at, of = f"{size}, {name}", f"{one.shards} shards"

            def row(what: str, value: float, unit: str, at: str = at, of: str = of) -> Result:
                return result(f"{at}: {what}", value, unit, of, COMMAND, None)

            yield row("planned for", one.planned.rate, "requests/s a replica")
            yield row("nothing read", one.held, "of requests")
            yield row("from Redis", one.transferred / 1e3, "KB a request")
            yield row("Redis a request", 1e6 * one.redis_s, "µs of a core")
            yield row("replica a request", 1e6 * one.replica_s, "µs of a core")
            yield row("heavy readers", one.heavy, "of requests")
            yield row("a heavy reader's request", 1e6 * one.heavy_s, "µs of a core")
            if np.isfinite(one.planned.p99):
                yield row("p99 at the load planned for, corrected", off * one.planned.p99, "ms")
            for point in one.points:
                if np.isfinite(point.p99):
                    yield row(f"p99 at {point.rate:,.0f}/s", point.p99, "ms", of=f"{point.requests:,} requests")


def _followee_rows(found: Mapping[int, Mapping[int, Mapping[Reader, float]]]) -> Iterator[Result]:
    for entries, by_count in found.items():
        for count, readers in by_count.items():
            for reader, p99 in readers.items():
                what = f"{count:,} followees, {entries} on each timeline, {reader}: p99"
                yield result(what, p99, "ms", "", COMMAND, None)


def _storm_rows(storms: Mapping[str, list[Storm]]) -> Iterator[Result]:
    for size, found in storms.items():
        for one in found:
            at = f"{size}, pushed {below_name(one.below)}: p99 until seen"
            yield result(at, one.seconds(0.99), "s", f"{one.writers.processes} writers", COMMAND, None)
