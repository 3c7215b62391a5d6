"""Changes under way: what Redis may have and SQL has not, should their process die between the two.

Keys (ns is the namespace):
    {ns}:unsure    the user or tweet whose row a change holds, with a mark of its own, by time (Unix ms); a member a
                   change under way, and one a change that ended badly, until it is mended (service/mend.py)
"""

import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.keyspace import Keyspace, RedisStore
from contract.transactions import changing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doubt:
    """Of what is online of a user, or of a tweet."""

    kind: Literal["user", "tweet"]
    id_: str
    mark: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id_}:{self.mark}"


class Unsure:
    """Which changes are under way. Redis errors pass through as redis.exceptions.RedisError."""

    def __init__(self, redis: RedisStore, namespace: str, refusals: tuple[type[Exception], ...]) -> None:
        """`refusals` are raised within a change before it writes anything: they leave no doubt."""
        self._refusals = refusals
        home = Keyspace(redis, namespace).home
        self._redis: Any = home.redis  # typed as if decoding
        self._key = home.key("unsure")

    @asynccontextmanager
    async def changing(
        self, engine: AsyncEngine, kind: Literal["user", "tweet"], id_: str
    ) -> AsyncIterator[AsyncConnection]:
        """A transaction (contract/transactions.py) that changes SQL and Redis alike, of one user or tweet."""
        async with self.during(kind, id_), changing(engine) as connection:
            yield connection

    @asynccontextmanager
    async def during(self, kind: Literal["user", "tweet"], id_: str) -> AsyncIterator[None]:
        """Where it does not end well, what is online of them is made what SQL has of them, within seconds."""
        doubt = Doubt(kind, id_, uuid.uuid4().hex[:16])
        await self._redis.zadd(self._key, {str(doubt): time.time_ns() // 1_000_000})
        try:
            yield
        except self._refusals:
            await self.settle(doubt)
            raise
        await self.settle(doubt)

    async def settle(self, doubt: Doubt) -> None:
        """SQL and Redis agree. Where Redis cannot be told it is mended in vain, which does no harm."""
        try:
            await self._redis.zrem(self._key, str(doubt))
        except RedisError as error:
            log.warning("%s agrees with SQL, but Redis could not be told: %r", doubt, error)

    async def older_than(self, seconds: float, most: int = 1_000) -> dict[Doubt, float]:
        """Those that began so long ago, and how many seconds it is, the oldest first."""
        now_ms = time.time() * 1_000
        until_ms = now_ms - seconds * 1_000
        members = await self._redis.zrange(
            self._key, "-inf", until_ms, byscore=True, offset=0, num=most, withscores=True
        )
        return {Doubt(*member.decode().split(":")): (now_ms - at_ms) / 1_000 for member, at_ms in members}
