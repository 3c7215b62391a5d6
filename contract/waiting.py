"""Users whose vector is to be fitted to their retweets, from whoever changes these to the services that fit.

Key (ns is the namespace):
    {ns}:fold_in    users by when they are due (Unix ms): each once, MOST_WAITING at most, the last ones go
"""

import time
from collections.abc import Sequence

from contract.keyspace import Keyspace, RedisStore

MOST_WAITING = 100_000
AFTER_ALL_OTHERS = 1e15
"""A time that never comes (Unix ms): who is listed for then has a turn whenever nobody is due."""
_GATHER_MS = 200
_AT_A_TIME = 500


class WaitingUsers:
    """The list. Redis errors pass through."""

    def __init__(self, redis: RedisStore, namespace: str) -> None:
        home = Keyspace(redis, namespace).home
        self._redis, self._key = home.redis, home.key("fold_in")

    async def add(self, user_ids: Sequence[str], due_ms: float | None = None) -> int:
        """List users, due in a moment, so that what else they do until then counts too; returns how many had to go.

        Who is listed for earlier stays so.
        """
        due_ms = now_ms() + _GATHER_MS if due_ms is None else due_ms
        dropped = 0
        for start in range(0, len(user_ids), _AT_A_TIME):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zadd(self._key, dict.fromkeys(user_ids[start : start + _AT_A_TIME], due_ms), lt=True)
            pipeline.zremrangebyrank(self._key, MOST_WAITING, -1)
            _, gone = await pipeline.execute()
            dropped += gone
        return dropped

    async def first(self) -> tuple[str, float] | None:
        """Who is due first, and when (Unix ms)."""
        first: list[tuple[bytes, float]] = await self._redis.zrange(self._key, 0, 0, withscores=True)  # type: ignore[assignment]  # not decoded
        return (first[0][0].decode(), first[0][1]) if first else None

    async def count(self) -> int:
        """How many are listed."""
        return int(await self._redis.zcard(self._key))

    async def take(self, user_id: str) -> bool:
        """Take a user off the list; False where another process was faster."""
        return bool(await self._redis.zrem(self._key, user_id))


def now_ms() -> int:
    """Unix time in ms."""
    return time.time_ns() // 1_000_000
