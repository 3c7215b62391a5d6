"""What is compared by simulation: how requests reach replicas and read, step by step, by size of the network.

    python -m benchmarks.scale --only simulation

Needs the rows of service_times, storage and loads.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from benchmarks.scale.assumptions import Assumptions
from benchmarks.scale.constants import Constants
from benchmarks.scale.held_trace import MOST_CANDIDATES, Need, Routing, Trace, trace, with_newest
from benchmarks.scale.plan import AS_BUILT, PLANNED, requests_a_second, shards_needed, tweets_a_second
from benchmarks.scale.shape import Network
from benchmarks.scale.simulation import Arrivals, Layout, Load, simulate
from benchmarks.scale.times import Times
from contract.graph import entries_per_followee

SIZES = {"1 M": 1e6, "100 M": 1e8, "1 B": 1e9}
RATES = (50.0, 100.0, 200.0, 400.0)
"""Requests a second and replica."""
FOLLOWEES = (6, 20, 60, 200, 600, 2_000, 6_000, 10_000)
HYBRID = "and inboxes (hybrid)"
HYBRID_BELOW = 1e5
HEAVY = 100
_MOST_TRACED = 40_000
_IN_BURSTS = 5_000
_SEED = 1


@dataclass(frozen=True)
class Policy:
    """How it is built.

    `affine`: a user's requests always reach the same replica. `newest_s`: the newest tweets of all are renewed once in
    so many seconds; 0: whenever there are newer ones. `proxy`: a replica sends one command a round trip, which a proxy
    beside it divides among the shards, and asks a reader of all logs for changes; as built it sends each shard its
    own, and a look asks all. `most`: who follows more has replicas of their own. `inboxes`: what authors with fewer
    than HYBRID_BELOW followers post is pushed.
    """

    affine: bool
    newest_s: float = 0.0
    proxy: bool = False
    most: float = math.inf
    inboxes: bool = False

    def needs(self, traced: Trace, network: Network) -> list[Need]:
        """Of requests, those of heavy readers too."""
        rng = np.random.default_rng(_SEED)
        needs = with_newest(traced, tweets_a_second(network), self.newest_s, rng)
        return [need.by_inbox() if self.inboxes else need for need in needs]

    def layout(self, shards: int, assumed: Assumptions) -> Layout:
        """Between machines."""
        return Layout(shards, assumed.rtt_ms / 1e3, assumed.nic_gbit / 8 * 1e9, 1 if self.proxy else shards)


POLICIES = {
    AS_BUILT: Policy(affine=False),
    "a user's replica": Policy(affine=True),
    "and newest once a second": Policy(affine=True, newest_s=1.0),
    "and a proxy": Policy(affine=True, newest_s=1.0, proxy=True),
    PLANNED: Policy(affine=True, newest_s=1.0, proxy=True, most=HEAVY),
    HYBRID: Policy(affine=True, newest_s=1.0, proxy=True, most=HEAVY, inboxes=True),
}
"""Each with one change more than the one before it."""


@dataclass(frozen=True)
class Point:
    """At so many requests a second and replica: quantiles, ms, inf where replica or shards do not keep up."""

    rate: float
    p50: float
    p99: float
    requests: int


@dataclass(frozen=True)
class Found:
    """Of a policy at a size: points by load, up to the first beyond what is planned for; all else at that load.

    It is the highest at which a replica is no busier than is assumed and p99, corrected, is as wanted, or, where it
    never is, the highest at which a replica is no busier. `heavy`: of all requests, those that
    replicas apart serve, and `heavy_s` of a core that each takes. Seconds are of a request.
    """

    points: list[Point]
    planned: Point
    burst: Point
    shards: int
    others: float
    held: float
    read: float
    replica_s: float
    redis_s: float
    transferred: float
    heavy: float
    heavy_s: float


Policies = dict[str, dict[str, Found]]
"""By size, then policy."""


@dataclass(frozen=True)
class Loaded:
    """A policy at a load: what requests need, what one takes of a replica and of Redis, how busy shards are."""

    rate: float
    needs: list[Need]
    apart: list[Need]
    times: Times
    placed: Layout
    replica_s: float
    redis_s: float
    others: float

    def point(self, requests: int, arrivals: Arrivals = "poisson") -> Point:
        """By simulation; other replicas have the same load and ask the same of the shards, without bursts."""
        if self.others >= 1 or self.rate * self.replica_s >= 1:
            return Point(self.rate, math.inf, math.inf, 0)
        load = Load(self.rate, requests, arrivals)
        found = simulate(self.needs, load, self.times, self.placed, _SEED, self.others)
        return Point(self.rate, found.quantile_ms(0.5), found.quantile_ms(0.99), len(found.seconds))

    def cycle(self) -> Point:
        """Of all requests between two drops; a tenth more, before, does not count."""
        return self.point(math.ceil(len(self.needs) / 0.9))


@cache
def traced_once(network: Network, affine: bool, rate: float) -> Trace:
    """What a replica's requests need, from empty memory until all is dropped."""
    routing = Routing(max(1, round(requests_a_second(network) / rate)), affine)
    return trace(network, routing, rate, np.random.default_rng(_SEED), HYBRID_BELOW, _MOST_TRACED)


def loaded(network: Network, policy: Policy, constants: Constants, rate: float) -> Loaded:
    """As many replicas as have so many requests a second each."""
    times, placed = Times(constants, policy.proxy), policy.layout(shards_needed(network, constants), network.assumed)
    every = policy.needs(traced_once(network, policy.affine, rate), network)
    needs = [need for need in every if need.followees <= policy.most]
    apart = [need for need in every if need.followees > policy.most]
    replica_s, shards = replica_seconds(needs, times, placed), placed.shards
    redis_s = float(np.mean([times.redis(need, shards, placed.looked_at) for need in needs]))
    others = max(0.0, requests_a_second(network) - rate) * redis_s / shards
    return Loaded(rate, needs, apart, times, placed, replica_s, redis_s, others)


def replica_seconds(needs: list[Need], times: Times, placed: Layout) -> float:
    """Of its processor, a request."""
    commands = times.commands(needs, placed.shards) + placed.looked_at - 1
    return float(np.mean([times.replica(need) for need in needs])) + commands * times.command


def run_policy(network: Network, policy: Policy, constants: Constants, correction: float) -> Found:
    """At more and more load. p99 is what is simulated times `correction`."""
    points, possible = list[Point](), list[Loaded]()
    for rate in RATES:
        one = loaded(network, policy, constants, rate)
        points.append(one.cycle())
        if rate * one.replica_s > network.assumed.replica_busy:
            possible = possible or [one]
            break
        possible.append(one)
    met = [one for one, at in zip(possible, points, strict=False) if at.p99 * correction <= network.assumed.p99_ms]
    planned = (met or possible)[-1]
    needs, apart, times = planned.needs, planned.apart, planned.times
    return Found(
        points=points,
        planned=next(point for point in points if point.rate == planned.rate),
        burst=planned.point(_IN_BURSTS, "burst"),
        shards=planned.placed.shards,
        others=planned.others,
        held=sum(need.nothing for need in needs) / len(needs),
        read=float(np.mean([need.vectors + need.entries + need.newest for need in needs])),
        replica_s=planned.replica_s,
        redis_s=planned.redis_s,
        transferred=float(np.mean([times.transferred(need) for need in needs])),
        heavy=len(apart) / (len(apart) + len(needs)),
        heavy_s=replica_seconds(apart, times, planned.placed) if apart else 0.0,
    )


Reader = Literal["read", "hybrid"]


def by_followees(network: Network, constants: Constants, entries: int) -> Iterator[tuple[int, dict[Reader, float]]]:
    """p99, ms, of requests of who follows so many, of whom nothing is held, at a fifth of what a replica can do.

    All timelines are read, with so many `entries` each, or an inbox and the timelines of those with many followers;
    both by a proxy.
    """
    times = Times(constants, one_command=True)
    placed = POLICIES[PLANNED].layout(shards_needed(network, constants), network.assumed)
    share = network.share_of_follows(HYBRID_BELOW)
    for followees in FOLLOWEES:
        found: dict[Reader, float] = {}
        for reader, need in cold_needs(followees, entries, share).items():
            rate = 0.2 / replica_seconds([need], times, placed)
            found[reader] = simulate([need], Load(rate, 2_000), times, placed, _SEED).quantile_ms(0.99)
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
