"""What requests find in a replica's memory, one after another: all is held until HELD_MB is full, then all is dropped.

As service/held.py and service/online.py have it: views of users, timelines and vectors of their followees, vectors of
the timelines' tweets. A tweet belongs to the timeline that it was read for. Shape suffixes: N followees.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Protocol

import numpy as np

from benchmarks.scale.shape import Ints, Network
from contract.graph import RECENT_LIMIT, TIMELINE_LIMIT, UserView, entries_per_followee
from contract.runtime import Attended
from service.held import NO_ENTRIES, AuthorTimeline, Held, People, Selection
from service.settings import Settings
from service.table import packed_directions

MOST_CANDIDATES: int = Settings.model_fields["max_candidates"].default
_DAY = 86_400.0
_DIM = 400
_FEW_REPLICAS = 20
"""With more, a visit's requests that are spread by chance never meet."""


_VISITS = 5
"""As long as so many visits take: before 0 s, so that some are under way then."""


@dataclass(frozen=True)
class Need:
    """What a request must read from Redis, and what it ranks; `view` is whether it must read the user's, too.

    `pulled`: how many followees are followed by so many that they put nothing into inboxes. `newest`: how many entries
    of the newest tweets of all are read.
    """

    followees: int
    candidates: int
    view: bool
    users: int
    timelines: int
    entries: int
    vectors: int
    pulled: int = 0
    newest: int = 0

    @property
    def nothing(self) -> bool:
        """Whether all was held."""
        return not (self.view or self.users or self.timelines or self.vectors or self.newest)

    def by_inbox(self) -> "Need":
        """The same where an inbox has what most followees posted: it is one user's, and changes with each post."""
        if not self.timelines and not (self.view and self.followees):
            return self
        return replace(self, timelines=min(self.timelines, self.pulled) + 1, entries=self.candidates)


@dataclass(frozen=True)
class Routing:
    """How requests reach one of so many replicas: at random, or (`affine`) always the same for a user."""

    replicas: int
    affine: bool


@cache
def held_bytes() -> tuple[int, int, int]:
    """Of a vector's row, an empty timeline, a user's view with what attention made of it: as the service counts."""
    held = Held("", _DIM)
    held.tweets.rows(["1"])
    row = held.nbytes
    view = held.view("1", UserView(exists=True, followee_ids=["2"], seen_tweet_ids=set()))
    directions_2D = np.zeros((2, _DIM), dtype=np.float32)
    attended = Attended(directions_2D, np.zeros(1, dtype=np.float32), knows_user=True)
    people = People(view, 0, np.zeros(1, dtype=np.int64), attended, packed_directions(directions_2D))
    chosen = Selection(view, [0], NO_ENTRIES)
    return row, AuthorTimeline(NO_ENTRIES, 0, 0).nbytes, view.nbytes + people.nbytes + chosen.nbytes


def asked(network: Network, routing: Routing, rate: float, rng: np.random.Generator) -> Iterator[tuple[float, int]]:
    """When which user asks one replica that has `rate` requests a second: visits of some requests each, from 0 s on."""
    assumed = network.assumed
    alone = not routing.affine and routing.replicas > _FEW_REPLICAS
    users = int(network.users / routing.replicas) if routing.affine else int(network.users)
    kept = 1.0 if routing.affine or alone else 1 / routing.replicas
    visits_a_second = rate if alone else rate / (assumed.session * kept)
    waiting: list[tuple[float, int]] = []
    now = 0.0 if alone else -_VISITS * assumed.session * assumed.gap_s
    while True:
        now += rng.exponential(1 / visits_a_second)
        while waiting and waiting[0][0] < now:
            yield heapq.heappop(waiting)
        at, user = now, int(rng.integers(users))
        for _ in range(1 if alone else int(rng.geometric(1 / assumed.session))):
            if at >= 0 and (kept == 1.0 or rng.random() < kept):
                heapq.heappush(waiting, (at, user))
            at += rng.exponential(assumed.gap_s)


class Follows(Protocol):
    """Whom a user follows, and how many entries of each one's timeline a request reads."""

    def __call__(self, user: int) -> tuple[Ints, Ints]: ...


def _none(_: Ints) -> int:
    return 0


class Memory:
    """A replica's.

    `changes`: how many changes an entry of a timeline stands for in a second; 0: nobody posts. `tweets`: how many there
    are in a second of all, whose vectors are held, too. `pulled`: how many of some authors put nothing into inboxes.
    """

    def __init__(
        self,
        follows: Follows,
        held_mb: float,
        changes: float = 0.0,
        tweets: float = 0.0,
        pulled: Callable[[Ints], int] = _none,
    ) -> None:
        self._follows, self._most, self._changes, self._pulled = follows, held_mb * 1e6, changes, pulled
        self._row, self._timeline, self._view = held_bytes()
        self._growing = tweets * self._row
        self._chance = random.Random(0)
        self.dropped = 0
        self._drop(0.0)

    def _drop(self, at_s: float) -> None:
        self._since = at_s
        self._followees: dict[int, tuple[Ints, Ints]] = {}
        self._authors: dict[int, float] = {}
        self.bytes = 0.0

    def full(self, at_s: float) -> bool:
        """Whether all is dropped before the next request."""
        return self.bytes + self._growing * (at_s - self._since) > self._most

    def need(self, at_s: float, user: int) -> Need:
        """Of a request, which leaves what it read."""
        if self.full(at_s):
            self._drop(at_s)
            self.dropped += 1
        view = user not in self._followees
        if view:
            self._followees[user] = self._follows(user)
            self.bytes += self._view + 16 * int(self._followees[user][1].sum())
        authors_N, entries_N = self._followees[user]
        both = list(zip(authors_N.tolist(), entries_N.tolist(), strict=True))
        stale = [size for author, size in both if self._is_changed(author, size, at_s)]
        missing = [(author, size) for author, size in both if author not in self._authors]
        for _, size in missing:
            self.bytes += self._timeline + 16 * size + (size + 1) * self._row
        self._authors |= dict.fromkeys((author for author, _ in both), at_s)
        in_all, entries = int(entries_N.sum()), sum(size for _, size in missing)
        candidates = min(MOST_CANDIDATES, in_all)
        vectors = round(entries * candidates / max(1, in_all)) + len(stale)
        timelines, read = len(missing) + len(stale), entries + sum(stale)
        pulled = self._pulled(authors_N) if timelines else 0
        return Need(len(both), candidates, view, len(missing), timelines, read, vectors, pulled)

    def _is_changed(self, author: int, size: int, at_s: float) -> bool:
        read = self._authors.get(author)
        if read is None or not self._changes:
            return False
        return self._chance.random() < -math.expm1(-(at_s - read) * size * self._changes)


def follows_of(network: Network, salt: int) -> Follows:
    """The same followees whenever it is this user; who follows nobody asks for nothing of them."""

    def follows(user: int) -> tuple[Ints, Ints]:
        rng = np.random.default_rng([salt, user])
        if rng.random() > network.assumed.following:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        count = int(network.followees_at(rng.random(1))[0])
        authors_N = np.unique(network.authors(rng.random(count)))
        most = entries_per_followee(len(authors_N), 3 * MOST_CANDIDATES, TIMELINE_LIMIT)
        return authors_N, np.minimum(network.entries_of(authors_N), most)

    return follows


@dataclass(frozen=True)
class Trace:
    """Of requests one after another, from empty memory until all is dropped: when they came, what they needed."""

    at_s: list[float]
    needs: list[Need]


def trace(
    network: Network, routing: Routing, rate: float, rng: np.random.Generator, pulled_from: float, most: int
) -> Trace:
    """One whole cycle of a replica that has `rate` requests a second; not more than `most` requests of it.

    Who is followed by `pulled_from` and more would put nothing into inboxes.
    """
    assumed = network.assumed
    day = assumed.peak / (assumed.days * _DAY)

    def pulled(authors_N: Ints) -> int:
        return int((network.followers_of(authors_N) >= pulled_from).sum())

    follows = follows_of(network, int(rng.integers(2**62)))
    memory = Memory(follows, assumed.held_mb, day, network.users * assumed.tweets * day, pulled)
    traced = Trace([], [])
    for at_s, user in islice(asked(network, routing, rate, rng), most):
        if memory.full(at_s):
            break
        traced.at_s.append(at_s)
        traced.needs.append(memory.need(at_s, user))
    return traced


def with_newest(traced: Trace, tweets_a_second: float, every_s: float, rng: np.random.Generator) -> Iterator[Need]:
    """Who follows nobody is offered the newest tweets of all instead.

    These are read anew where there are newer ones and `every_s` seconds went by, with the vectors of the new ones.
    """
    looked_at = -math.inf
    for at_s, need in zip(traced.at_s, traced.needs, strict=True):
        if need.followees:
            yield need
            continue
        new = 0
        if (since := at_s - looked_at) >= every_s:
            looked_at = at_s
            new = RECENT_LIMIT if math.isinf(since) else min(RECENT_LIMIT, int(rng.poisson(since * tweets_a_second)))
        yield replace(need, candidates=min(MOST_CANDIDATES, RECENT_LIMIT), newest=RECENT_LIMIT * (new > 0), vectors=new)
