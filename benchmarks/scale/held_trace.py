"""What requests find in a replica's memory, one after another: all is held until HELD_MB is full, then all is dropped.

As service/held.py and service/online.py have it: views of users, timelines and vectors of their followees, vectors of
the timelines' tweets. A tweet belongs to the timeline that it was read for. Shape suffixes: N followees.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from benchmarks.scale.shape import Ints, Network
from contract.graph import TIMELINE_LIMIT, UserView, entries_per_followee
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
    """What a request must read from Redis, and what it ranks; `view` is whether it must read the user's, too."""

    followees: int
    candidates: int
    view: bool
    users: int
    timelines: int
    entries: int
    vectors: int

    @property
    def nothing(self) -> bool:
        """Whether all was held."""
        return not (self.view or self.users or self.timelines or self.vectors)


@dataclass(frozen=True)
class Routing:
    """How requests reach one of so many replicas: at random, or (`affine`) always the same for a user."""

    replicas: int
    affine: bool


@dataclass(frozen=True)
class Inbox:
    """Authors with fewer followers than this put what they post into their followers' inboxes, the others do not."""

    below: float


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


class Memory:
    """A replica's. `changes`: how many changes an entry of a timeline stands for in a second; 0: nobody posts."""

    def __init__(self, follows: Follows, held_mb: float, changes: float = 0.0) -> None:
        self._follows, self._most, self._changes = follows, held_mb * 1e6, changes
        self._row, self._timeline, self._view = held_bytes()
        self._chance = random.Random(0)
        self.dropped = 0
        self._drop()

    def _drop(self) -> None:
        self._followees: dict[int, tuple[Ints, Ints]] = {}
        self._authors: dict[int, float] = {}
        self.bytes = 0.0

    def need(self, at_s: float, user: int, pulled: Callable[[Ints], int] | None = None) -> Need:
        """Of a request, which leaves what it read. With inboxes, `pulled` are the authors who put nothing there."""
        if self.bytes > self._most:
            self._drop()
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
        if pulled is not None and (timelines or view):  # an inbox is one user's, and changes with each post
            timelines, read = min(timelines, pulled(authors_N)) + 1, candidates
        return Need(len(both), candidates, view, len(missing), timelines, read, vectors)

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
    """Of requests one after another, after memory was full for the first time, where it ever is."""

    needs: list[Need]
    dropped: int

    @property
    def held(self) -> float:
        """The share of requests that read nothing."""
        return sum(need.nothing for need in self.needs) / len(self.needs)

    def mean(self, name: str) -> float:
        """Of what is needed, by the field's name."""
        return float(np.mean([getattr(need, name) for need in self.needs]))


def trace(
    network: Network, routing: Routing, rate: float, requests: int, rng: np.random.Generator, inbox: Inbox | None = None
) -> Trace:
    """From empty memory on; the last half of what was asked."""
    assumed = network.assumed
    changes = assumed.peak / (assumed.days * _DAY)
    memory = Memory(follows_of(network, int(rng.integers(2**62))), assumed.held_mb, changes)
    stream = asked(network, routing, rate, rng)

    def pulled(authors_N: Ints) -> int:
        return 0 if inbox is None else int((network.followers_of(authors_N) >= inbox.below).sum())

    needs = [memory.need(*next(stream), None if inbox is None else pulled) for _ in range(requests)]
    return Trace(needs[requests // 2 :], memory.dropped)
