"""The simulation's section: beside what was measured, by load and policy, by followees, and what pushing takes.

python -m benchmarks.scale --only simulation
"""

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.results import Result, Section, result
from benchmarks.scale import plots
from benchmarks.scale.assumptions import Assumptions
from benchmarks.scale.constants import Constants
from benchmarks.scale.plan import size_name
from benchmarks.scale.policies import (
    HYBRID_BELOW,
    POLICIES,
    SEEDS,
    SIZES,
    Point,
    Policies,
    Reader,
    by_followees,
    run_policy,
)
from benchmarks.scale.push import Storm, storm
from benchmarks.scale.shape import Network
from benchmarks.scale.tables import below_name, compared_table, followees_table, policies_table, storms_table
from benchmarks.scale.validate import Compared, compare

COMMAND = "python -m benchmarks.scale --only simulation"
BELOW = (1e3, 1e4, 1e5, 1e6, float("inf"))
ENTRIES = (10, 200)
_SEEN_S = 1.0
"""Within which a post is to be in 99 % of the inboxes."""


def measure() -> Section:
    """All of it: some three minutes of one core."""
    constants, assumed = Constants(), Assumptions()
    networks = {name: Network(users, assumed) for name, users in SIZES.items()}
    of_a_push = 1e-6 * constants["push_client"], 1e-6 * constants["push_redis"]
    compared = list(compare(constants, SEEDS))
    policies = {
        size: {name: run_policy(network, policy, constants) for name, policy in POLICIES.items()}
        for size, network in networks.items()
    }
    followees = {entries: dict(by_followees(networks["100 M"], constants, entries)) for entries in ENTRIES}
    storms = {size: [storm(network, below, *of_a_push, SEEDS) for below in BELOW] for size, network in networks.items()}
    rows = [
        *_compared_rows(compared),
        *_policy_rows(policies, networks, constants),
        *_followee_rows(followees),
        *_storm_rows(storms),
    ]
    text = "\n\n".join(
        [
            "### Beside what was measured",
            compared_table(compared),
            "### By load and policy",
            policies_table(policies, assumed),
            "![p99 by load and policy](scale/load.svg)",
            "### By followees",
            followees_table(followees, assumed),
            "![p99 by followees](scale/followees.svg)",
            "### Pushing",
            storms_table(storms),
            "![Until a post is seen, by who is pushed](scale/push.svg)",
        ]
    )
    figures = {
        "load.svg": plots.by_load(policies, assumed.p99_ms),
        "followees.svg": plots.by_followees(followees, assumed.p99_ms),
        "push.svg": plots.by_threshold(
            {size: [(one.below, one.seconds(0.99)) for one in found] for size, found in storms.items()}, _SEEN_S
        ),
    }
    return Section("The simulation", text, rows, figures)


def _compared_rows(compared: list[Compared]) -> Iterator[Result]:
    for one in compared:
        for name, measured, simulated in zip(("p50", "p99"), one.measured, one.simulated, strict=True):
            against = f"{measured:.2f} ms measured"
            yield result(f"{one.case}, {one.rate:,.0f}/s: {name}", simulated, "ms", against, COMMAND, None)


def _policy_rows(policies: Policies, networks: Mapping[str, Network], constants: Constants) -> Iterator[Result]:
    for size, by_policy in policies.items():
        for name, one in by_policy.items():
            times, some = POLICIES[name].times(constants), one.traced.needs
            kb = float(np.mean([times.transferred(need) for need in some])) / 1e3
            redis_us = 1e6 * float(np.mean([times.redis(need) for need in some]))
            at, of = f"{size_name(networks[size])}, {name}", f"{one.shards} shards"
            within = one.most_within(networks[size].assumed.p99_ms)
            yield result(f"{at}: within the p99 wanted", within, "requests/s a replica", of, COMMAND, None)
            yield result(f"{at}: nothing read", one.traced.held, "of requests", of, COMMAND, None)
            yield result(f"{at}: from Redis", kb, "KB a request", of, COMMAND, None)
            yield result(f"{at}: Redis a request", redis_us, "µs of a core", of, COMMAND, None)
            yield result(f"{at}: replica a request", 1e6 * one.cost_s, "µs of a core", of, COMMAND, None)
            for load in one.points:
                yield result(f"{at}: p99 at {load.rate:,.0f}/s", load.p99, "ms", f"± {load.within:.2g}", COMMAND, None)


def _followee_rows(found: Mapping[int, Mapping[int, Mapping[Reader, Point]]]) -> Iterator[Result]:
    for entries, by_count in found.items():
        for count, readers in by_count.items():
            for reader, one in readers.items():
                what = f"{count:,} followees, {entries} on each timeline, {reader}: p99"
                yield result(what, one.p99, "ms", f"± {one.within:.2g}", COMMAND, None)


def _storm_rows(storms: Mapping[str, list[Storm]]) -> Iterator[Result]:
    for size, found in storms.items():
        for one in found:
            at = f"{size}, pushed {below_name(one.below)}: p99 until seen"
            yield result(at, one.seconds(0.99), "s", f"{one.writers.processes} writers", COMMAND, None)
            if one.below == HYBRID_BELOW:
                yield result(f"{size}: writers", one.writers.processes, "processes", "hybrid", COMMAND, None)
