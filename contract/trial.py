"""A version on trial: it serves a share of the users beside the active one, so that the two can be compared online.

Keys (ns is the namespace), written while a trial runs:
    {ns}:shown:{version}:{user}     tweets that a version recommended to a user, by time; the newest MOST_SHOWN, for
                                    SHOWN_DAYS after the last one
    {ns}:answered:{version}         users by how many answers a version gave them in the trial; one member a user, until
                                    the next trial
    {ns}:answers:{version}          how many in all; one key a version, until the next trial
On a Redis Cluster the last two are a key a version and part of the keys (contract/keyspace.py).
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from contract.keyspace import Keyspace, RedisStore, at_once

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

    def __init__(self, redis: RedisStore, namespace: str) -> None:
        self._keys = Keyspace(redis, namespace)

    async def forget(self, versions: Iterable[str]) -> None:
        """Count some versions' answers anew."""
        families = [(id_, family) for id_ in versions for family in ("answered", "answers")]
        if families:
            await at_once(
                [part.redis.unlink(*[part.key(family, id_) for id_, family in families]) for part in self._keys.parts]
            )

    async def forget_user(self, versions: Sequence[str], user_id: str) -> None:
        """Forget what some versions answered a user."""
        part = self._keys.of(user_id)
        pipeline = part.redis.pipeline(transaction=False)
        for version in versions:
            pipeline.unlink(part.key("shown", version, user_id))
            pipeline.zrem(part.key("answered", version), user_id)
        await pipeline.execute()

    async def note(self, version: str, user_id: str, tweet_ids: Sequence[str]) -> None:
        """A version answered a user with these tweets."""
        part = self._keys.of(user_id)
        key = part.key("shown", version, user_id)
        pipeline = part.redis.pipeline(transaction=False)
        pipeline.incr(part.key("answers", version))
        pipeline.zincrby(part.key("answered", version), 1, user_id)
        if tweet_ids:
            pipeline.zadd(key, dict.fromkeys(tweet_ids, time.time_ns() // 1_000_000))
            pipeline.zremrangebyrank(key, 0, -MOST_SHOWN - 1)
            pipeline.expire(key, SHOWN_DAYS * 86_400)
        await pipeline.execute()

    async def by(self, versions: Sequence[str], user_id: str, tweet_id: str, since_ms: int) -> str | None:
        """The version that recommended a tweet to a user since then, the last of several; None where none did."""
        part = self._keys.of(user_id)
        pipeline = part.redis.pipeline(transaction=False)
        for version in versions:
            pipeline.zscore(part.key("shown", version, user_id), tweet_id)
        times = await pipeline.execute()
        found = [(at, version) for at, version in zip(times, versions, strict=True) if at is not None]
        last, last_version = max(found, default=(0.0, None))
        return last_version if last >= since_ms else None

    async def totals(self, version: str) -> dict[str, int]:
        """How many answers a version gave in the trial, and to how many users."""
        parts = self._keys.parts
        asked = [(part, ("zcard", part.key("answered", version))) for part in parts]
        asked += [(part, ("get", part.key("answers", version))) for part in parts]
        replies = await self._keys.read(asked, lambda pipeline, command: pipeline.execute_command(*command))
        users, answers = replies[: len(parts)], replies[len(parts) :]
        return {"users": sum(users), "answers": sum(int(count or 0) for count in answers)}

    async def answers(self, version: str) -> dict[str, int]:
        """How many answers a version gave to each user in the trial."""
        found: dict[str, int] = {}
        for part in self._keys.parts:
            async for user_id, count in part.redis.zscan_iter(part.key("answered", version), count=_CHUNK):
                found[user_id.decode()] = int(count)
        return found
