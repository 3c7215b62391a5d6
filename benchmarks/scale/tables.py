"""The tables of the simulation's section."""

from collections.abc import Mapping

import numpy as np

from benchmarks.results import table
from benchmarks.scale.assumptions import Assumptions
from benchmarks.scale.policies import Found, Point, Policies, Reader
from benchmarks.scale.push import Storm
from benchmarks.scale.validate import Compared


def compared_table(compared: list[Compared]) -> str:
    """Simulated beside measured."""
    both = ("measured, ms", "simulated, ms", "off")
    return table(
        ["Case", "Requests/s", *(f"{quantile} {what}" for quantile in ("p50", "p99") for what in both)],
        [[one.case, f"{one.rate:,.0f}", *_beside(one, 0), *_beside(one, 1)] for one in compared],
    )


def _beside(one: Compared, quantile: int) -> list[str]:
    measured, simulated = one.measured[quantile], one.simulated[quantile]
    return [f"{measured:.2f}", f"{simulated:.2f}", f"{simulated / measured - 1:+.0%}"]


def policies_table(policies: Policies, assumed: Assumptions) -> str:
    """By size and policy."""
    head = [
        "Users",
        "Shards",
        "Policy",
        "Requests that read nothing",
        "Vectors and entries read",
        "ms of a core",
        f"Requests/s a replica with p99 ≤ {assumed.p99_ms:g} ms",
        "p50 at half of a core, ms",
        "p99, ms",
        "p99 in bursts, ms",
    ]
    rows = [[size, *_policy(name, one, assumed)] for size, found in policies.items() for name, one in found.items()]
    return table(head, rows)


def _policy(name: str, one: Found, assumed: Assumptions) -> list[str]:
    within, half = one.most_within(assumed.p99_ms), one.half_busy
    return [
        str(one.shards),
        name,
        f"{one.traced.held:.0%}",
        f"{one.reads:.1f}",
        f"{1e3 * one.cost_s:.2f}",
        f"{within:,.0f}" if within else "none",
        f"{half.p50:.1f}",
        f"{half.p99:.1f} ± {half.within:.1f}",
        f"{one.burst.p99:.1f}",
    ]


def followees_table(found: Mapping[int, Mapping[int, Mapping[Reader, Point]]], assumed: Assumptions) -> str:
    """p99, ms, by followees."""
    readers: tuple[Reader, ...] = ("read", "hybrid")

    def cell(one: Point) -> str:
        return f"{one.p99:.1f}" if one.p99 <= assumed.p99_ms else f"**{one.p99:.1f}**"

    counts = list(next(iter(found.values())))
    return table(
        ["Followees", *(f"{reader}, {entries} on each timeline" for entries in found for reader in readers)],
        [[f"{n:,}", *(cell(found[entries][n][reader]) for entries in found for reader in readers)] for n in counts],
    )


def storms_table(storms: Mapping[str, list[Storm]]) -> str:
    """By size and by whose posts are pushed."""
    head = ["Users", "Pushed", "Writers", "Busy", "Cores of Redis", "p50 until seen, s", "p99, s", "Follows still read"]
    rows = [[size, *_storm(one)] for size, found in storms.items() for one in found]
    return table(head, rows)


def _storm(one: Storm) -> list[str]:
    return [
        below_name(one.below),
        f"{one.writers.processes:,}",
        f"{one.busy:.0%}",
        f"{one.redis_cores:.2f}",
        f"{one.seconds(0.5):.3f}",
        f"{one.seconds(0.99):.2f}",
        f"{one.pulled:.0%}",
    ]


def below_name(below: float) -> str:
    """Whose posts are pushed."""
    return f"below {below:,.0f} followers" if np.isfinite(below) else "all"
