"""A version on trial: it serves a share of the users beside the active one, so that the two can be compared online.

Keys (ns is the namespace), written while a trial runs:
    {ns}:shown:{version}:{user}     tweets that a version recommended to a user, by time; the newest MOST_SHOWN, for
                                    SHOWN_DAYS after the last one
    {ns}:answered:{version}         users by how many answers a version gave them in the trial; one member a user, until
                                    the next trial
    {ns}:answers:{version}          how many in all; one key a version, until the next trial
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from redis.asyncio import Redis

MOST_SHOWN = 400
SHOWN_DAYS = 7
_CHUNK = 1_000


@dataclass(frozen=True)
class Trial:
    """Which version, and for what share of the users, 0 to 1; 0: for none, it only looks on (service/shadow.py).

    What came of it is counted since a moment (Unix ms): its start, the active version's, or that of a Redis written
    anew, the last of them.
    """

    version: str
    share: float
    since_ms: int = field(default=0, compare=False)

    def has(self, user_id: str) -> bool:
        """Whether it serves a user: always the same ones; with a greater share others, too, and no one less."""
        digest = blake2b(f"{self.version}\n{user_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64 < self.share

    @classmethod
    def read(cls, text: str) -> "Trial":
        """From what `str` wrote."""
        version, share, since_ms = text.split(" ")
        return cls(version, float(share), int(since_ms))

    def __str__(self) -> str:
        return f"{self.version} {self.share!r} {self.since_ms}"


class Recommended:
    """What each version recommended to whom. Redis errors pass through as redis.exceptions.RedisError."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace

    async def forget(self, versions: Iterable[str]) -> None:
        """Count some versions' answers anew."""
        keys = [f"{self._namespace}:{family}:{id_}" for id_ in versions for family in ("answered", "answers")]
        if keys:
            await self._redis.unlink(*keys)

    async def forget_user(self, versions: Sequence[str], user_id: str) -> None:
        """Forget what some versions answered a user."""
        pipeline = self._redis.pipeline(transaction=False)
        for version in versions:
            pipeline.unlink(f"{self._namespace}:shown:{version}:{user_id}")
            pipeline.zrem(f"{self._namespace}:answered:{version}", user_id)
        await pipeline.execute()

    async def note(self, version: str, user_id: str, tweet_ids: Sequence[str]) -> None:
        """A version answered a user with these tweets."""
        key = f"{self._namespace}:shown:{version}:{user_id}"
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.incr(f"{self._namespace}:answers:{version}")
        pipeline.zincrby(f"{self._namespace}:answered:{version}", 1, user_id)
        if tweet_ids:
            pipeline.zadd(key, dict.fromkeys(tweet_ids, time.time_ns() // 1_000_000))
            pipeline.zremrangebyrank(key, 0, -MOST_SHOWN - 1)
            pipeline.expire(key, SHOWN_DAYS * 86_400)
        await pipeline.execute()

    async def by(self, versions: Sequence[str], user_id: str, tweet_id: str, since_ms: int) -> str | None:
        """The version that recommended a tweet to a user since then, the last of several; None where none did."""
        pipeline = self._redis.pipeline(transaction=False)
        for version in versions:
            pipeline.zscore(f"{self._namespace}:shown:{version}:{user_id}", tweet_id)
        times = await pipeline.execute()
        found = [(at, version) for at, version in zip(times, versions, strict=True) if at is not None]
        last, last_version = max(found, default=(0.0, None))
        return last_version if last >= since_ms else None

    async def totals(self, version: str) -> dict[str, int]:
        """How many answers a version gave in the trial, and to how many users."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zcard(f"{self._namespace}:answered:{version}")
        pipeline.get(f"{self._namespace}:answers:{version}")
        users, answers = await pipeline.execute()
        return {"users": users, "answers": int(answers or 0)}

    async def answers(self, version: str) -> dict[str, int]:
        """How many answers a version gave to each user in the trial."""
        found: dict[str, int] = {}
        async for user_id, count in self._redis.zscan_iter(f"{self._namespace}:answered:{version}", count=_CHUNK):
            found[user_id.decode()] = int(count)
        return found
