"""What is compared by simulation: how requests reach replicas, and who is pushed to inboxes, by size of the network.

    python -m benchmarks.scale --only simulation

Needs the rows of service_times, storage and loads.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from scipy.stats import t as student

from benchmarks.scale.assumptions import Assumptions
from benchmarks.scale.constants import Constants
from benchmarks.scale.held_trace import MOST_CANDIDATES, Inbox, Need, Routing, Trace, trace
from benchmarks.scale.plan import requests_a_second, shards_needed
from benchmarks.scale.shape import Network
from benchmarks.scale.simulation import Arrivals, Layout, Load, Outcome, simulate
from benchmarks.scale.times import Times
from contract.graph import entries_per_followee

SIZES = {"1 M": 1e6, "100 M": 1e8, "1 B": 1e9}
SEEDS = range(5)
BUSY = (0.1, 0.3, 0.5, 0.7, 0.85)
"""Of what a replica's processor could do."""
FOLLOWEES = (6, 20, 60, 200, 600, 2_000, 6_000, 10_000)
_TRACED, _REQUESTS = 40_000, 2_000
_FIRST_GUESS = 400.0


@dataclass(frozen=True)
class Policy:
    """How it is built.

    `affine`: a user's requests always reach the same replica. `mended`: a tweet's vector lies beside its author's
    timeline, and a look at the log of changes asks one place; as built it lies on a shard by its own id, and a look
    asks all shards. `below`: authors with fewer followers are pushed to inboxes. `proxy`: a replica sends one command
    a round trip, which a proxy beside it divides among the shards. `most`: who follows more has replicas of their own.
    """

    affine: bool
    mended: bool
    below: float = 0.0
    proxy: bool = False
    most: float = math.inf

    @property
    def inbox(self) -> Inbox | None:
        return Inbox(self.below) if self.below else None

    def times(self, constants: Constants) -> Times:
        """Of its parts. Raises NotMeasured."""
        return Times(constants, by_author=self.mended, one_command=self.proxy)


HYBRID_BELOW = 1e5
HEAVY = 100
POLICIES = {
    "read, any replica, as built": Policy(affine=False, mended=False),
    "read, any replica": Policy(affine=False, mended=True),
    "read, a user's replica": Policy(affine=True, mended=True),
    "write": Policy(affine=True, mended=True, below=math.inf),
    "hybrid": Policy(affine=True, mended=True, below=HYBRID_BELOW),
    "hybrid, proxy, heavy apart": Policy(affine=True, mended=True, below=HYBRID_BELOW, proxy=True, most=HEAVY),
}


@dataclass(frozen=True)
class Point:
    """At a load: requests a second and replica; ms, each the mean of the seeds, with half a 95 % interval of p99."""

    rate: float
    p50: float
    p99: float
    within: float
    replica_busy: float
    shard_busy: float


@dataclass(frozen=True)
class Found:
    """Of a policy at a size: what requests needed, points by load, and one where requests come in bursts."""

    traced: Trace
    shards: int
    cost_s: float
    points: list[Point]
    burst: Point

    @property
    def reads(self) -> float:
        """Vectors and entries of timelines from Redis, a request."""
        return self.traced.mean("vectors") + self.traced.mean("entries")

    @property
    def half_busy(self) -> Point:
        """The point nearest to half of a core."""
        return min(self.points, key=lambda one: abs(one.rate * self.cost_s - 0.5))

    def most_within(self, ms: float) -> float:
        """The highest requests a second and replica with p99 within so many ms; 0 where there is none."""
        rates, p99 = [one.rate for one in self.points], [one.p99 for one in self.points]
        over = next((n for n, one in enumerate(p99) if one > ms), None)
        if over is None:
            return rates[-1]
        if over == 0:
            return 0.0
        return float(
            np.exp(np.interp(np.log(ms), np.log(p99[over - 1 : over + 1]), np.log(rates[over - 1 : over + 1])))
        )


Policies = dict[str, dict[str, Found]]
"""By size, then policy."""


def layout(shards: int, policy: Policy, assumed: Assumptions) -> Layout:
    """Between machines."""
    return Layout(shards, assumed.rtt_ms / 1e3, assumed.nic_gbit / 8 * 1e9, 1 if policy.mended else shards)


@cache
def traced_once(network: Network, routing: Routing, inbox: Inbox | None) -> Trace:
    """What a replica's requests need."""
    return trace(network, routing, _FIRST_GUESS, _TRACED, np.random.default_rng(1), inbox)


def run_policy(network: Network, policy: Policy, constants: Constants) -> Found:
    """At several loads."""
    assumed, times = network.assumed, policy.times(constants)
    replicas = max(1, round(requests_a_second(network) / _FIRST_GUESS))
    traced = traced_once(network, Routing(replicas, policy.affine), policy.inbox)
    traced = replace(traced, needs=[need for need in traced.needs if need.followees <= policy.most])
    shards = shards_needed(network, constants)
    placed = layout(shards, policy, assumed)
    commands = times.commands(traced.needs, placed.shards)
    cost_s = float(np.mean([times.replica(need) for need in traced.needs])) + commands * times.command
    redis_s = float(np.mean([times.redis(need) for need in traced.needs]))
    points = [at_load(busy / cost_s, traced.needs, times, placed, redis_s, network) for busy in BUSY]
    half = at_load(0.5 / cost_s, traced.needs, times, placed, redis_s, network, "burst")
    return Found(traced, shards, cost_s, points, half)


def at_load(
    rate: float,
    needs: list[Need],
    times: Times,
    placed: Layout,
    redis_s: float,
    network: Network,
    arrivals: Arrivals = "poisson",
) -> Point:
    """All other replicas have the same load, and ask the same of the shards."""
    replicas = max(1.0, requests_a_second(network) / rate)
    others = min(0.95, (replicas - 1) * rate * redis_s / placed.shards)
    load = Load(rate, _REQUESTS, arrivals)
    return point(rate, [simulate(needs, load, times, placed, seed, others) for seed in SEEDS])


def point(rate: float, outcomes: list[Outcome]) -> Point:
    """Of several seeds."""
    p99 = [one.quantile_ms(0.99) for one in outcomes]
    within = float(student.ppf(0.975, len(p99) - 1) * np.std(p99, ddof=1) / np.sqrt(len(p99)))
    p50, replica, shard = (
        float(np.mean(values))
        for values in (
            [one.quantile_ms(0.5) for one in outcomes],
            [one.replica_busy for one in outcomes],
            [one.shard_busy for one in outcomes],
        )
    )
    return Point(rate, p50, float(np.mean(p99)), within, replica, shard)


Reader = Literal["read", "hybrid"]


def by_followees(network: Network, constants: Constants, entries: int) -> Iterator[tuple[int, dict[Reader, Point]]]:
    """p99 of requests of who follows so many, of whom nothing is held, at a fifth of what a replica can do.

    All timelines are read, with so many `entries` each, or an inbox and the timelines of those with many followers;
    both by a proxy.
    """
    assumed, times = network.assumed, Times(constants, one_command=True)
    placed = layout(shards_needed(network, constants), POLICIES["hybrid"], assumed)
    share = network.share_of_follows(HYBRID_BELOW)
    for followees in FOLLOWEES:
        found: dict[Reader, Point] = {}
        for reader, need in cold_needs(followees, entries, share).items():
            commands = times.commands([need], placed.shards)
            rate = 0.2 / (times.replica(need) + commands * times.command)
            outcomes = [simulate([need], Load(rate, 400), times, placed, seed) for seed in SEEDS]
            found[reader] = point(rate, outcomes)
        yield followees, found


def cold_needs(followees: int, entries: int, pulled: float) -> Mapping[Reader, Need]:
    """What a request needs that holds nothing, by how it reads; of a hybrid's followees a share is pulled."""
    read = followees * min(entries, entries_per_followee(followees, 3 * MOST_CANDIDATES))
    candidates = min(MOST_CANDIDATES, read)
    timelines = max(1, round(pulled * followees))
    of_these = round(read * pulled)
    return {
        "read": Need(followees, candidates, True, followees, followees, read, candidates),
        "hybrid": Need(followees, candidates, True, followees, 1 + timelines, candidates + of_these, candidates),
    }
