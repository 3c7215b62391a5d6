"""Word from whoever stores tweets without encoding them to the services that do.

Key (ns is the namespace):
    {ns}:pending    a new value whenever tweets were stored that have no vector yet; one key
Nothing depends on the word alone: a service also looks by itself, but seldom, since that reads the tweets' whole index.
"""

import uuid

from contract.keyspace import Keyspace, RedisStore


class PendingTweets:
    """Redis errors pass through as redis.exceptions.RedisError."""

    def __init__(self, redis: RedisStore, namespace: str) -> None:
        home = Keyspace(redis, namespace).home
        self._redis, self._key = home.redis, home.key("pending")
        self._heard: bytes | None = None

    async def announce(self) -> None:
        """Tell every service that there are tweets to encode. Call it after the commit."""
        await self._redis.set(self._key, uuid.uuid4().bytes)

    async def announced(self) -> bool:
        """Whether anybody announced some since the last call."""
        said: bytes | None = await self._redis.get(self._key)  # type: ignore[assignment]  # not decoded
        heard, self._heard = self._heard, said
        return said != heard
