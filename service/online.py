"""The online network as a request sees it: held in memory, and never older than the request.

Before it reads anything, a request sees the log of changes and drops what changed since; one look serves all requests
that wait for it. So a write that was acknowledged anywhere is known to every request that comes after it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from contract.changelog import EVERYTHING, ChangeLog
from contract.graph import OnlineGraph
from contract.vectors import VectorStore
from service.active import ActiveModel
from service.held import Held, Ints, Timeline, View
from service.metrics import Metrics


class OnlineNetwork:
    """What a request asks of it raises RedisError where Redis does not answer."""

    def __init__(
        self, log: ChangeLog, graph: OnlineGraph, vectors: VectorStore, most_bytes: int, metrics: Metrics
    ) -> None:
        self.graph = graph
        self._log, self._vectors, self._most_bytes, self._metrics = log, vectors, most_bytes, metrics
        self._held: Held | None = None
        self._looking = asyncio.Lock()
        self._next_look: asyncio.Task[None] | None = None
        self._reads: list[set[str]] = []
        """Of each reading that goes on: what changed meanwhile."""

    async def fresh(self, model: ActiveModel) -> Held:
        """What is held under a version, without what changed before this call. Use this one to the request's end."""
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look())
        await asyncio.shield(self._next_look)
        if self._held is None or self._held.version != model.version or self._held.nbytes > self._most_bytes:
            self._held = Held(model.version, model.manifest.dim)
        self._metrics.held_bytes.set(self._held.nbytes)
        return self._held

    async def view(self, held: Held, user_id: str) -> View | None:
        """A user's view; None of one who is not online."""
        while (view := held.views.get(user_id)) is None:
            with self._reading() as changed:
                found = await self.graph.user(user_id)
            if not found.exists:
                return None
            if not changed & _keys(("user", "follow", "seen", "hidden"), [user_id]):
                view = held.view(user_id, found)
        return view

    async def timelines(self, held: Held, author_ids: Sequence[str]) -> list[Timeline]:
        """Authors' timelines, newest first."""
        while True:
            try:
                return [held.timelines[author_id] for author_id in author_ids]
            except KeyError:
                await self._read_timelines(held, [id_ for id_ in author_ids if id_ not in held.timelines])

    async def recent(self, held: Held) -> Timeline:
        """The newest tweets of the whole service."""
        while (recent := held.recent) is None:
            with self._reading() as changed:
                found = await self.graph.recent()
            if not changed & {"recent", EVERYTHING}:
                recent = held.recent = held.entries(found)
        return recent

    async def need(self, held: Held, kind: Literal["t", "u"], rows: Ints) -> None:
        """See to it that the vectors of some tweets or users are there, where they have any."""
        table = held.table(kind)
        read = self._vectors.tweets if kind == "t" else self._vectors.users
        while unknown := table.unknown(rows):
            with self._reading() as changed:
                found, vectors_KD = await read(held.version, unknown, held.dim)
            table.put(unknown, found, vectors_KD)
            for id_ in unknown if changed else ():
                if changed & _keys((f"v:{held.version}:{kind}",), [id_]):
                    table.forget(id_)

    async def _read_timelines(self, held: Held, author_ids: Sequence[str]) -> None:
        with self._reading() as changed:
            found = await self.graph.timelines(author_ids)
        for author_id, entries in zip(author_ids, found, strict=True):
            if not changed or not changed & _keys(("timeline",), [author_id]):
                held.timeline(author_id, entries)

    async def _look(self) -> None:
        async with self._looking:
            self._next_look = None  # who asks from now on waits for the next one
            changed = await self._log.changed()
        for names in self._reads:
            names.update(changed)
        if self._held is not None and not self._held.drop(changed):
            self._held = None

    @contextmanager
    def _reading(self) -> Iterator[set[str]]:
        changed: set[str] = set()
        self._reads.append(changed)
        try:
            yield changed
        finally:
            self._reads = [names for names in self._reads if names is not changed]


def _keys(families: Sequence[str], ids: Sequence[str]) -> set[str]:
    """The names under which the log tells of a change of these."""
    return {EVERYTHING} | {f"{family}:{id_}" for family in families for id_ in (*ids, EVERYTHING)}
