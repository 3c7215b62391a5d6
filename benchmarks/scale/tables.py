"""The tables of the simulation's section."""

from collections.abc import Mapping

import numpy as np

from benchmarks.results import table
from benchmarks.scale.policies import RATES, Found, Policies, Reader
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


def policies_table(policies: Policies, limit_ms: float) -> str:
    """By size and policy; p99 beyond `limit_ms` is bold."""
    head = [
        "Users",
        "Shards",
        "Policy",
        *(f"p99 at {rate:g}/s, ms" for rate in RATES),
        "Planned for, requests/s",
        "Read nothing",
        "Vectors and entries read a request",
        "µs of a core a request",
        "A shard busy",
        "p99 in bursts, ms",
    ]
    rows = [[size, *_policy(name, one, limit_ms)] for size, found in policies.items() for name, one in found.items()]
    return table(head, rows)


def _policy(name: str, one: Found, limit_ms: float) -> list[str]:
    by_rate = {point.rate: point.p99 for point in one.points}
    return [
        str(one.shards),
        name,
        *(_ms(by_rate[rate], limit_ms) if rate in by_rate else "" for rate in RATES),
        f"{one.planned.rate:g}" if np.isfinite(one.planned.p99) else "none",
        f"{one.held:.0%}",
        f"{one.read:.1f}",
        f"{1e6 * one.replica_s:,.0f}",
        f"{one.others:.0%}",
        _ms(one.burst.p99, limit_ms),
    ]


def _ms(ms: float, limit_ms: float) -> str:
    if not np.isfinite(ms):
        return "saturated"
    return f"{ms:.1f}" if ms <= limit_ms else f"**{ms:.1f}**"


def followees_table(found: Mapping[int, Mapping[int, Mapping[Reader, float]]], limit_ms: float) -> str:
    """p99, ms, by followees; what is beyond `limit_ms` is bold."""
    readers: tuple[Reader, ...] = ("read", "hybrid")
    counts = list(next(iter(found.values())))
    return table(
        ["Followees", *(f"{reader}, {entries} on each timeline, ms" for entries in found for reader in readers)],
        [
            [f"{n:,}", *(_ms(found[entries][n][reader], limit_ms) for entries in found for reader in readers)]
            for n in counts
        ],
    )


def storms_table(storms: Mapping[str, list[Storm]]) -> str:
    """By size and by whose posts are pushed."""
    head = [
        "Users",
        "Pushed",
        "Writers",
        "Busy",
        "Cores of Redis",
        "p50 until seen, ms",
        "p99, s",
        "Follows still read",
    ]
    rows = [[size, *_storm(one)] for size, found in storms.items() for one in found]
    return table(head, rows)


def _storm(one: Storm) -> list[str]:
    return [
        below_name(one.below),
        f"{one.writers.processes:,}",
        f"{one.busy:.0%}",
        f"{one.redis_cores:.2f}",
        f"{1e3 * one.seconds(0.5):.2f}",
        f"{one.seconds(0.99):.2f}",
        f"{one.pulled:.0%}",
    ]


def below_name(below: float) -> str:
    """Whose posts are pushed."""
    return f"below {below:,.0f} followers" if np.isfinite(below) else "all"
