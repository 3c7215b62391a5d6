"""The online network as a request sees it: held in memory, and never older than the request.

Before it reads anything, a request sees the log of changes and drops what changed since; one look serves all requests
that wait for it. So a write that was acknowledged anywhere is known to every request that comes after it. What changes
while it is read is new enough for the request that reads it, and is not kept.

Where Redis lost its contents (service/restore.py), what is held stays until all is there again, but for what changes
meanwhile, and nothing new is kept; a user who is not there is written from SQL at once. The log is looked at twice a
second where nobody asks, too, so that nothing of an older state is held then.

The same where Redis forgot what was written last, as after a failover: what it has left is not trusted. On a cluster
every server that was started again, or took over, may have forgotten.

Where Redis does not answer, what is held goes on being answered from, and what is not held is read from SQL
(service/stored.py), until a look succeeds again: only looks wait for Redis meanwhile. Nobody can change anything then,
but through another process that still reaches Redis. Where one server of a cluster does not answer, changes on the
others go on: looks drop what those tell.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Literal, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from contract.changelog import EVERYTHING, ChangeLog
from contract.graph import OnlineGraph, TimelineEntry
from contract.tasks import Tasks
from contract.vectors import Vectors, VectorStore
from service.active import ActiveModel
from service.held import AuthorTimeline, Held, Timeline, View
from service.metrics import Metrics
from service.stored import StoredNetwork
from service.table import Ints

log = logging.getLogger(__name__)

T = TypeVar("T")

_FRESH_SECONDS = 2.0
_MOST_VERSIONS = 2
"""The active one and the one on trial; the one that is compared with them comes on top."""


class OnlineNetwork:
    """What a request asks of it raises SQLAlchemyError where neither Redis nor the database answers."""

    def __init__(
        self,
        log: ChangeLog,
        graph: OnlineGraph,
        vectors: VectorStore,
        stored: StoredNetwork,
        most_bytes: int,
        metrics: Metrics,
    ) -> None:
        self.graph = graph
        self._log, self._vectors, self.stored = log, vectors, stored
        self._most_bytes, self._metrics = most_bytes, metrics
        self.lost = False
        """Whether Redis lost its contents and has not got all of it back."""
        self.away = False
        """Whether Redis does not answer."""
        self._held: dict[str, Held] = {}
        """By version, the one that was used last at the end."""
        self._looking = asyncio.Lock()
        self._next_look: asyncio.Task[None] | None = None
        self._looks = Tasks()
        self._reads: list[set[str]] = []
        """Of each reading that goes on: what changed meanwhile."""
        self._unseen: list[str] = []
        """What the log told and no look was through with."""
        self._looked_at = time.monotonic()
        """Last tried: while Redis does not answer, nobody changes anything."""
        self._again: set[str] = set()
        """Vectors that changed while they were read, or are from SQL: the next look that succeeds drops them."""

    async def fresh(self, model: ActiveModel) -> Held:
        """What is held under a version, without what changed before this call. Use this one to the request's end."""
        if not self.away:
            with suppress(RedisError):  # Redis is away from now on
                await self.look()
        if self._nbytes > self._most_bytes:
            self._make_room()
        held = self._held.pop(model.version, None)
        if held is None:
            held = Held(model.version, model.manifest.dim)
            self._make_way(model.version)
        self._held[model.version] = held
        self._metrics.held_bytes.set(self._nbytes)
        return held

    def drop(self, version: str) -> None:
        """Hold nothing of a version any more."""
        self._held.pop(version, None)

    @property
    def whole(self) -> bool:
        """Whether answers have all that they should have."""
        return not (self.lost or self.away)

    async def look(self) -> None:
        """See what changed, with others who wait for the same look. Raises RedisError."""
        if self._next_look is None:
            self._next_look = self._looks.start(self._look(self.away))
        await asyncio.shield(self._next_look)

    async def aclose(self) -> None:
        """End looks that go on though nobody waits for them any more."""
        await self._looks.aclose()

    @property
    def _nbytes(self) -> int:
        return sum(held.nbytes for held in self._held.values())

    @property
    def _compared(self) -> str | None:
        compared = self.stored.models.compared
        return None if compared is None else compared.version

    def _make_room(self) -> None:
        """Drop all; or what is held of the version that is compared, where that is enough."""
        if self._compared is not None:
            self.drop(self._compared)
        if self._nbytes > self._most_bytes:
            self._held.clear()

    def _make_way(self, version: str) -> None:
        """Before another version is held: of those that serve the ones used last are held on."""
        if version != (compared := self._compared):
            serving = [one for one in self._held if one != compared]
            for one in serving[: 1 - _MOST_VERSIONS]:
                self.drop(one)

    async def view(self, held: Held, user_id: str) -> View | None:
        """A user's view; None of one who is not online."""
        if (kept := held.views.get(user_id)) is not None:
            return kept
        with self._reading() as changed:
            found, fresh = await self._ask(partial(self.graph.user, user_id), partial(self.stored.user, user_id))
        if not found.exists:
            return None
        view = held.view(user_id, found)
        if fresh and not self.lost and not changed & _keys(user_id, "user", "follow", "seen", "hidden"):
            held.keep(held.views, user_id, view)
        return view

    async def timelines(self, held: Held, author_ids: Sequence[str], depth: int) -> list[AuthorTimeline]:
        """Authors' timelines, at least the newest `depth` entries of each."""
        kept = held.timelines
        found = [kept.get(author_id) for author_id in author_ids]
        missing = [
            id_ for id_, timeline in zip(author_ids, found, strict=True) if timeline is None or timeline.depth < depth
        ]
        if not missing:
            return found  # type: ignore[return-value]  # none is None
        read = await self._read_timelines(held, missing, depth)
        return [read.get(id_) or timeline for id_, timeline in zip(author_ids, found, strict=True)]  # type: ignore[misc]

    async def recent(self, held: Held) -> Timeline:
        """The newest tweets of the whole service."""
        if held.recent is not None:
            return held.recent
        with self._reading() as changed:
            found, fresh = await self._ask(self.graph.recent, self.stored.recent)
        recent = held.entries(found)
        if fresh and not self.lost and not changed & {"recent", EVERYTHING}:
            held.recent = recent
        return recent

    async def recent_entries(self) -> list[TimelineEntry]:
        """The same, read now."""
        found, _ = await self._ask(self.graph.recent, self.stored.recent)
        return found

    async def retweet_counts(self, tweet_ids: Sequence[str]) -> list[int]:
        """How often each of the newest tweets was retweeted."""
        asked = list(tweet_ids)
        stored = partial(self.stored.retweet_counts, asked)
        found, _ = await self._ask(partial(self.graph.retweet_counts, asked), stored)
        return found

    async def vectors(
        self, kind: Literal["t", "u"], version: str, ids: Sequence[str], dim: int
    ) -> tuple[tuple[list[str], Vectors], bool]:
        """Of tweets or users under a version, those that have one: ids and fp16 [K, D]; whether from Redis."""
        redis = self._vectors.tweets if kind == "t" else self._vectors.users
        stored = self.stored.tweets if kind == "t" else self.stored.users
        return await self._ask(partial(redis, version, ids, dim), partial(stored, version, ids, dim))

    async def need(self, held: Held, kind: Literal["t", "u"], rows: Ints) -> None:
        """See to it that the vectors of some tweets or users are there, where they have any."""
        table = held.table(kind)
        family = f"v:{held.version}:{kind}"
        absent: set[str] = set()
        while unknown := [id_ for id_ in table.unknown(rows) if id_ not in absent]:  # others may be dropped meanwhile
            with self._reading() as changed:
                (found, vectors_KD), fresh = await self.vectors(kind, held.version, unknown, held.dim)
            table.put(unknown, found, vectors_KD)
            absent.update(set(unknown).difference(found))
            self._again.update(
                f"{family}:{id_}" for id_ in unknown if not fresh or (changed and changed & _keys(id_, family))
            )

    async def _read_timelines(self, held: Held, author_ids: Sequence[str], depth: int) -> dict[str, AuthorTimeline]:
        with self._reading() as changed:
            found, fresh = await self._ask(
                partial(self.graph.timelines, author_ids, depth), partial(self.stored.timelines, author_ids, depth)
            )
        read = {}
        for author_id, entries in zip(author_ids, found, strict=True):
            other = held.timelines.get(author_id)  # another request may have read the same
            if other is not None and other.depth >= depth:
                read[author_id] = other
                continue
            timeline = read[author_id] = held.timeline(entries, depth)
            if fresh and not self.lost and not (changed and changed & _keys(author_id, "timeline")):
                held.keep(held.timelines, author_id, timeline)
        return read

    async def _look(self, was_away: bool) -> None:
        async with self._looking:
            self._next_look = None  # who asks from now on waits for the next one
            if self.away and not was_away:
                raise RedisConnectionError("Redis did not answer the look before")
            try:
                changed = await self._changed()
            except RedisError as error:
                self._went_away(error)
                self._drop_what_others_told()
                raise
        again, self._again = self._again, set()
        self._drop(changed, again)

    def _drop_what_others_told(self) -> None:
        """While a server of a cluster is away, others' changes go on; whether one lost all is seen once it is back."""
        told = {*self._unseen, *self._log.told()}
        self._unseen = [EVERYTHING] if EVERYTHING in told else []
        self._drop(told - {EVERYTHING})

    def _drop(self, changed: Collection[str], again: Collection[str] = ()) -> None:
        for names in self._reads:
            names.update(changed)
        for version, held in list(self._held.items()):
            if not held.drop([*changed, *again]):
                del self._held[version]

    async def _changed(self) -> list[str]:
        """Names since the last look; while contents are lost without families, as the one who writes all notes them."""
        was_lost, last_look, self._looked_at = self.lost, self._looked_at, time.monotonic()
        self._unseen += await self._log.changed()
        anew = EVERYTHING in self._unseen
        lost = await self._vectors.active_version() is None if was_lost or anew else False
        gaps = not lost and (was_lost or anew or self._log.moved) and await self._vectors.has_gaps()
        if not lost and (gaps or self._log.went_back):
            log.error("Redis forgot what was written last: it is to be written anew")
            await self._vectors.miss(everything=not gaps)
            self._unseen.append(EVERYTHING)
            anew = lost = True
        self._log.went_back = self._log.moved = False
        if lost and anew:  # the log is a new one, and short
            self._unseen += await self._log.all()
        changed, self._unseen, self.lost = self._unseen, [], lost
        if self.away:
            log.warning("Redis answers again")
            self.away = False
            self._metrics.redis_away.set(0)
        self._metrics.online_lost.set(lost)
        if not lost:
            return [EVERYTHING] if was_lost else changed
        if not was_lost and self._looked_at - last_look > _FRESH_SECONDS:
            return [EVERYTHING]  # nobody knows what changed before the log was lost
        for held in self._held.values():
            held.forget_absent()
        return [name for name in changed if not name.endswith(EVERYTHING)]

    async def _ask(self, redis: Callable[[], Awaitable[T]], stored: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """From Redis (True); where it does not answer, from SQL (False), which is not kept.

        What is read from SQL may lack a change that the log told already and that is yet to be committed.
        """
        if not self.away:
            try:
                return await redis(), True
            except RedisError as error:
                self._went_away(error)
        return await stored(), False

    def _went_away(self, error: RedisError) -> None:
        if not self.away:
            log.error("Redis does not answer, so that reads go on without it: %r", error)
            self.away = True
            self._metrics.redis_away.set(1)

    @contextmanager
    def _reading(self) -> Iterator[set[str]]:
        changed: set[str] = set()
        self._reads.append(changed)
        try:
            yield changed
        finally:
            self._reads = [names for names in self._reads if names is not changed]


def _keys(id_: str, *families: str) -> set[str]:
    """The names under which the log tells of a change of what an id has in some families of keys."""
    return {EVERYTHING} | {f"{family}:{name}" for family in families for name in (id_, EVERYTHING)}
