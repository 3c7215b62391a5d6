"""What changed in Redis lately, so that a process may keep what it read: a stream with one entry a write.

    {ns}:changes    the names of the keys that a write touched, without the namespace; about the newest LOG_LIMIT

The entry is written with the change, in one MULTI: whoever reads the stream after a write was acknowledged sees it.
On a Redis Cluster each part of the keys has its stream (contract/keyspace.py).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from contract.keyspace import Keyspace, Part, RedisStore

LOG_LIMIT = 10_000
EVERYTHING = "*"
_MOST_NAMED = 50
_FIELD = b"keys"


def note(pipeline: Pipeline, part: Part, keys: Iterable[str]) -> None:
    """Add the entry of a write to its pipeline, one command: the keys, or of many their families, as `timeline:*`."""
    names = list(dict.fromkeys(key.removeprefix(f"{part.prefix}:") for key in keys))
    if len(names) > _MOST_NAMED:
        names = sorted({f"{name.rpartition(':')[0]}:*" if ":" in name else name for name in names})
    pipeline.xadd(part.key("changes"), {_FIELD: "\n".join(names)}, maxlen=LOG_LIMIT, approximate=True)


class ChangeLog:
    """Reads on from where it was. Redis errors pass through."""

    def __init__(self, redis: RedisStore, namespace: str) -> None:
        self._keys = Keyspace(redis, namespace)
        # a connection of its own, asked before every request; typed as if decoding
        self._connection: Any = None if self._keys.divided else self._keys.home.redis.client()
        self._read: dict[Part, bytes] = {}
        self._told: list[str] = []
        """Names that nobody has been told yet."""
        self._run_ids: dict[Part, str | None] = {}
        self.went_back = False
        """Whether Redis has forgotten the newest of what it had told, as a replica that was behind and took over."""
        self.moved = False
        """Whether a part of a cluster is on another server than before, which may lack what was written last."""

    async def changed(self) -> list[str]:
        """Names since the last call; [EVERYTHING] at first, and where the log does not reach back so far.

        Where a server of a cluster does not answer that is raised, and `told` has what the others told.
        """
        parts = self._keys.parts
        fault: RedisError | None = None
        for part, entries in zip(parts, await self._newer(parts), strict=True):
            if isinstance(entries, RedisError):
                fault = entries
            elif entries and entries[0][0] == self._read.get(part):  # the last one read is there still: none is missing
                self._read[part] = entries[-1][0]
                self._told += [name for _, fields in entries[1:] for name in fields[_FIELD].decode().split("\n")]
            else:
                self._told.append(EVERYTHING)
                await self._begin_anew(part)
        if fault is not None:
            raise fault
        if self._keys.divided:
            self._see_who_answers()
        return self.told()

    def told(self) -> list[str]:
        """Names that were read by calls of `changed` which raised, once."""
        names, self._told = self._told, []
        return names

    async def all(self) -> list[str]:
        """Names of all entries that are there."""
        found = [await self._redis(part).xrange(part.key("changes")) for part in self._keys.parts]
        return [name for entries in found for _, fields in entries for name in fields[_FIELD].decode().split("\n")]

    async def aclose(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            await self._connection.aclose()

    async def _newer(self, parts: Sequence[Part]) -> list[list[Any] | RedisError]:
        """Of each part the last entry that was read, and the newer ones, or why they cannot be read."""
        if self._connection is not None:
            (part,) = parts
            last = self._read.get(part)
            return [[] if last is None else await self._connection.xrange(part.key("changes"), min=last)]
        asked = [(part, (part.key("changes"), last)) for part in parts if (last := self._read.get(part)) is not None]
        found = await self._keys.read_what_answers(asked, lambda pipeline, one: pipeline.xrange(one[0], min=one[1]))
        newer = dict(zip((part for part, _ in asked), found, strict=True))
        return [newer.get(part, []) for part in parts]

    async def _begin_anew(self, part: Part) -> None:
        redis, stream = self._redis(part), part.key("changes")
        if (last := self._read.get(part)) is not None:
            oldest = await redis.xrange(stream, count=1)
            self.went_back = self.went_back or (bool(oldest) and _place(oldest[0][0]) < _place(last))
            del self._read[part]
        newest = await redis.xrevrange(stream, count=1)
        self._read[part] = newest[0][0] if newest else await redis.xadd(stream, {_FIELD: EVERYTHING})

    def _see_who_answers(self) -> None:
        run_ids = {part: part.run_id for part in self._keys.parts}
        self.moved = self.moved or run_ids != self._run_ids
        self._run_ids = run_ids

    def _redis(self, part: Part) -> Any:
        return part.redis if self._connection is None else self._connection


def _place(entry_id: bytes) -> tuple[int, ...]:
    """Of an entry in its stream: ms-number."""
    return tuple(map(int, entry_id.split(b"-")))
