"""What the simulation's tables say, in sentences that are written from them."""

from collections.abc import Iterable, Mapping

import numpy as np

from benchmarks.scale.assumptions import Assumptions
from benchmarks.scale.plan import AS_BUILT, PLANNED
from benchmarks.scale.policies import HEAVY, HYBRID, HYBRID_BELOW, Found, Policies, Reader
from benchmarks.scale.push import Storm
from benchmarks.scale.tables import below_name
from benchmarks.scale.validate import TEST, TRUSTED, Compared, correction


def beside(compared: list[Compared]) -> str:
    """How far off it is."""
    lines = [
        f"One replica and one Redis. Service times are those of requests as in *held* and *read anew*, which are a fit "
        f"therefore; *{TEST}* is a test. Up to {TRUSTED:.0%} of a closed loop's requests/s:\n"
    ]
    for case in dict.fromkeys(one.case for one in compared):
        p50, p99 = (_span(one.simulated[q] / one.measured[q] - 1 for one in _trusted(compared, case)) for q in (0, 1))
        lines.append(f"- *{case}*: p50 is off by {p50}, p99 by {p99}.")
    lines.append(
        "\nThe real service has slow requests now and then that its parts, measured by themselves, do not show. So "
        f"p99 that is planned with is {correction(compared):.2f} times the simulated one, as in the test at worst, and "
        "nothing is read from beyond half of the most. No cluster of several shards was compared."
    )
    return "\n".join(lines)


def _trusted(compared: list[Compared], case: str) -> list[Compared]:
    return [one for one in compared if one.case == case and one.share <= TRUSTED]


def _span(shares: Iterable[float]) -> str:
    found = list(shares)
    return f"{min(found):+.0%} to {max(found):+.0%}"


def by_policy(policies: Policies, off: float, assumed: Assumptions) -> str:
    """What each size is planned with."""
    points = [point.requests for found in policies.values() for one in found.values() for point in one.points]
    counts = [one for one in points if one]
    lines = [
        "Each line changes one thing more than the one before it. A point is one cycle of a replica's memory, from "
        f"empty until all is dropped, or as many requests as are simulated at most ({min(counts):,} to "
        f"{max(counts):,}), and has no interval. Bold: more than {assumed.p99_ms / off:.1f} ms, which are "
        f"{assumed.p99_ms:g} corrected. The columns to the right are at the load planned for: the highest at which a "
        f"replica is at most {assumed.replica_busy:.0%} busy and p99 is "
        "within that or, where what is read anew takes longer by itself, so that fewer requests do not help, the "
        "highest at which it is no busier. Nothing is simulated beyond the first load at which it is. "
        f"*Heavy readers* follow more than {HEAVY}. *Saturated*: a replica or the shards would be busy more than all "
        "of the time. How busy shards are is at most so: each request's look counts as its own, though some are "
        "shared.\n",
    ]
    for size, found in policies.items():
        lines += [
            f"- {size}, *{name}*: {_planned(found[name], off, assumed)}."
            for name in (AS_BUILT, PLANNED, HYBRID)
            if name in found
        ]
        if HYBRID in found and np.isfinite(found[PLANNED].planned.p99):
            lines.append(f"- {size}: inboxes on top change p99 by {_gain(found[PLANNED], found[HYBRID])}.")
    return "\n".join(lines)


def _planned(found: Found, off: float, assumed: Assumptions) -> str:
    one = found.planned
    if not np.isfinite(one.p99):
        return f"does not keep up with {one.rate:g} requests/s a replica"
    p99 = off * one.p99
    wanted = "within" if p99 <= assumed.p99_ms else "not within"
    return f"{one.rate:g} requests/s a replica, p99 {p99:.1f} ms, corrected: {wanted} the {assumed.p99_ms:g} ms wanted"


def _gain(read: Found, hybrid: Found) -> str:
    before = {one.rate: one.p99 for one in read.points if np.isfinite(one.p99)}
    return _span(one.p99 / before[one.rate] - 1 for one in hybrid.points if one.rate in before)


def by_followees(found: Mapping[int, Mapping[int, Mapping[Reader, float]]], limit_ms: float) -> str:
    """From where on inboxes give something."""
    lines = [
        "p99 of a request that holds nothing, at a fifth of what a replica can do, by how many it follows; bold: more "
        f"than the {limit_ms:.1f} ms that are wanted, corrected.\n"
    ]
    for entries, by_count in found.items():
        gains = [n for n, readers in by_count.items() if readers["hybrid"] <= 0.75 * readers["read"]]
        first = f"from {gains[0]:,} followees on" if gains else "for none of these"
        lines.append(f"- With {entries} entries on each timeline inboxes take a quarter off or more {first}.")
    return "\n".join(lines)


def pushing(storms: Mapping[str, list[Storm]]) -> str:
    """What the threshold is for."""
    lines = [
        "Writers enough to be half busy at the peak; each push of somebody with few followers is a command of its own, "
        "since these are on different shards.\n"
    ]
    for size, found in storms.items():
        below = next(one for one in found if one.below == HYBRID_BELOW)
        everybody = next(one for one in found if np.isinf(one.below))
        lines.append(
            f"- {size}: {below_name(HYBRID_BELOW)} in 99 % of inboxes within {below.seconds(0.99):.2g} s, "
            f"all authors within {everybody.seconds(0.99):.2g} s."
        )
    return "\n".join(lines)
