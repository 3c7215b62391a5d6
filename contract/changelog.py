"""What changed in Redis lately, so that a process may keep what it read: a stream with one entry a write.

    {ns}:changes    the names of the keys that a write touched, without the namespace; about the newest LOG_LIMIT

The entry is written with the change, in one MULTI: whoever reads the stream after a write was acknowledged sees it.
"""

from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

LOG_LIMIT = 10_000
EVERYTHING = "*"
_MOST_NAMED = 50
_FIELD = b"keys"


def note(pipeline: Pipeline, namespace: str, keys: Iterable[str]) -> None:
    """Add the entry of a write to its pipeline, one command: the keys, or of many their families, as `timeline:*`."""
    names = list(dict.fromkeys(key.removeprefix(f"{namespace}:") for key in keys))
    if len(names) > _MOST_NAMED:
        names = sorted({f"{name.rpartition(':')[0]}:*" if ":" in name else name for name in names})
    pipeline.xadd(f"{namespace}:changes", {_FIELD: "\n".join(names)}, maxlen=LOG_LIMIT, approximate=True)


class ChangeLog:
    """Reads on from where it was. Redis errors pass through."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        self._redis: Any = redis.client()  # a connection of its own, asked before every request; typed as if decoding
        self.stream = f"{namespace}:changes"
        self._read: bytes | None = None
        self.went_back = False
        """Whether Redis has forgotten the newest of what it had told, as a replica that was behind and took over."""

    async def changed(self) -> list[str]:
        """Names since the last call; [EVERYTHING] at first, and where the log does not reach back so far."""
        if self._read is not None:
            entries = await self._redis.xrange(self.stream, min=self._read)
            if entries and entries[0][0] == self._read:  # the last one read is there still: nothing is missing
                self._read = entries[-1][0]
                return [name for _, fields in entries[1:] for name in fields[_FIELD].decode().split("\n")]
            oldest = await self._redis.xrange(self.stream, count=1)
            self.went_back = self.went_back or (bool(oldest) and _place(oldest[0][0]) < _place(self._read))
            self._read = None
        newest = await self._redis.xrevrange(self.stream, count=1)
        self._read = newest[0][0] if newest else await self._redis.xadd(self.stream, {_FIELD: EVERYTHING})
        return [EVERYTHING]

    async def all(self) -> list[str]:
        """Names of all entries that are there."""
        entries = await self._redis.xrange(self.stream)
        return [name for _, fields in entries for name in fields[_FIELD].decode().split("\n")]

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._redis.aclose()


def _place(entry_id: bytes) -> tuple[int, ...]:
    """Of an entry in its stream: ms-number."""
    return tuple(map(int, entry_id.split(b"-")))
