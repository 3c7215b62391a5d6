"""Fan-out on write: how long until a post is in its author's followers' inboxes, event by event.

Posts of authors with many followers are events; those of all others together are work that a part of the writers is
always busy with. Writers take pieces of a post's pushes side by side, so that all are as one that is so much faster.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

from benchmarks.scale.constants import Constants
from benchmarks.scale.plan import shards_needed
from benchmarks.scale.shape import Network
from benchmarks.scale.simulation import Queue
from benchmarks.scale.times import touched

Floats = npt.NDArray[np.float64]
_MANY = 1_000.0
"""Followers whose posts are events."""
_DAY = 86_400.0
_US = 1e-6


@dataclass(frozen=True)
class Writers:
    """So many processes, each as fast as was measured: seconds of one, and of Redis, a push.

    The followers of a post are on many `shards`: each that has any gets a command, of which one more takes `command_s`.
    """

    processes: int
    push_s: float
    redis_s: float
    command_s: float = 0.0
    shards: int = 1

    def post_s(self, followers: float) -> float:
        """Of one writer, for a post of somebody whom so many follow."""
        return followers * self.push_s + (touched(max(1, round(followers)), self.shards) - 1) * self.command_s


@dataclass(frozen=True)
class Pushed:
    """`delay_s` until a follower can see a post, by delivery, with how much each counts; how busy the writers are."""

    delay_s: Floats
    weight: Floats
    busy: float

    def quantile(self, q: float) -> float:
        """Seconds within which such a share of all deliveries is done."""
        order = np.argsort(self.delay_s)
        reached = np.cumsum(self.weight[order])
        return float(self.delay_s[order][np.searchsorted(reached, q * reached[-1])])


def posts_a_second(network: Network) -> float:
    """Tweets and retweets at the peak: both are put on timelines."""
    assumed = network.assumed
    return network.users * (assumed.tweets + assumed.retweets) / (assumed.days * _DAY) * assumed.peak


def pushes_a_second(network: Network, below: float) -> float:
    """Of the posts of authors with fewer followers than that."""
    return posts_a_second(network) * network.follows * (1 - network.share_of_follows(below))


def small_s(network: Network, writers: Writers, below: float) -> float:
    """Of one writer in a second, for authors with fewer followers than that: each push is a command of its own."""
    more = writers.command_s if writers.shards > 1 else 0.0
    return pushes_a_second(network, below) * (writers.push_s + more)


def writers_for(network: Network, below: float, one: Writers, busy: float = 0.5) -> Writers:
    """As many like `one` as are no more than so busy on average at the peak."""
    work = small_s(network, one, min(_MANY, below)) + one.post_s(_MANY) / _MANY * (
        pushes_a_second(network, below) - pushes_a_second(network, min(_MANY, below))
    )
    return replace(one, processes=max(1, int(np.ceil(work / busy))))


def push(network: Network, writers: Writers, below: float, seed: int, events: int = 10_000) -> Pushed:
    """So many posts of authors with 1,000 followers and more, and what all others find meanwhile."""
    rng, env = np.random.default_rng(seed), simpy.Environment()
    small = small_s(network, writers, min(_MANY, below)) / writers.processes
    most, least = network.share_of_authors(_MANY), network.share_of_authors(below)
    rate = posts_a_second(network) * (most - least)
    deliveries: list[tuple[float, float, float]] = []
    found: list[float] = []
    queue = Queue(env)

    def post(followers: float) -> Generator[simpy.Event, Any, None]:
        due, size = env.now, writers.post_s(followers) / writers.processes / (1 - small)
        done = queue.work(size)
        yield done
        deliveries.append((env.now - due - size, env.now - due, followers))

    def arrive() -> Generator[simpy.Event, Any, None]:
        rank = rng.uniform(least * network.users, most * network.users, events)
        for gap, followers in zip(rng.exponential(1 / rate, events), network.followers_of(rank), strict=True):
            yield env.timeout(gap)
            found.append(queue.backlog)  # what a post of somebody else finds at such a moment
            env.process(post(float(followers)))

    if rate > 0:
        env.process(arrive())
        env.run()
    small_pushes = pushes_a_second(network, min(_MANY, below)) * max(env.now, 1.0)
    waits = np.array(found or [0.0]) + writers.push_s + (writers.command_s if writers.shards > 1 else 0.0)
    first, last, followers = np.array(deliveries or [(0.0, 0.0, 0.0)]).T
    spread = np.concatenate([first + (last - first) * share for share in (0.05, 0.25, 0.5, 0.75, 0.95)])
    weight = np.concatenate([np.full(len(waits), small_pushes / len(waits)), np.tile(followers / 5, 5)])
    worked = sum(writers.post_s(float(one)) for one in followers if one)
    return Pushed(np.concatenate([waits, spread]), weight, small + worked / writers.processes / max(env.now, 1.0))


@dataclass(frozen=True)
class Storm:
    """Authors with fewer followers than `below` are pushed: what came of it, follows still read, cores of Redis."""

    below: float
    writers: Writers
    by_seed: list[Pushed]
    pulled: float
    redis_cores: float

    def seconds(self, q: float) -> float:
        """Within which such a share of deliveries is done, the mean of the seeds."""
        return float(np.mean([one.quantile(q) for one in self.by_seed]))

    @property
    def busy(self) -> float:
        """Of the writers, the mean of the seeds."""
        return float(np.mean([one.busy for one in self.by_seed]))


def storm(network: Network, below: float, constants: Constants, seeds: range) -> Storm:
    """As many writers as are busy half of the time on average."""
    push_s, redis_s, command_s = (_US * constants[name] for name in ("push_client", "push_redis", "command_client"))
    one = Writers(1, push_s, redis_s, command_s, shards_needed(network, constants))
    writers = writers_for(network, below, one)
    by_seed = [push(network, writers, below, seed) for seed in seeds]
    redis_cores = pushes_a_second(network, below) * redis_s
    return Storm(below, writers, by_seed, network.share_of_follows(below), redis_cores)
