"""User and tweet vectors in Redis, by model version, and the pointer to the version that serves.

Keys (ns is the namespace):
    {ns}:active                      the version that serves; one key, which is there where all else is
    {ns}:trial                       the version on trial and its share (contract/trial.py); one key while one runs
    {ns}:next                        the version that is being published; one key, gone a day after a kill
    {ns}:v:{version}:u:{user}        user vector; at most one a user and kept version
    {ns}:v:{version}:t:{tweet}       tweet vector; at most one a tweet and kept version
Kept versions are the active one, the one before it and the one on trial: `delete_version` removes the others.
Every write of vectors is noted in the log of changes (contract/changelog.py).

Shape suffixes: K ids, D dimensions.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.changelog import EVERYTHING, note
from contract.errors import StoreUnavailable
from contract.keyspace import Keyspace, Part, RedisStore, at_once
from contract.marks import Mark
from contract.trial import Trial

Vectors = npt.NDArray[np.float16]

_CHUNK = 1_000
_DAY_SECONDS = 86_400


class VectorStore:
    """fp16 vectors (2 x d bytes each: 800 B at d = 400). Redis errors pass through as redis.exceptions.RedisError."""

    def __init__(self, redis: RedisStore, namespace: str) -> None:
        self._keys = Keyspace(redis, namespace)
        self._home = self._keys.home

    async def active_version(self) -> str | None:
        """The version that serves, or None where none was ever activated."""
        value: bytes | None = await self._home.redis.get(self._home.key("active"))  # type: ignore[assignment]  # not decoded
        return None if value is None else value.decode()

    async def activate(self, version: str, mark: Mark | None = None) -> None:
        """Move the pointer: one write, so that every reader sees the old version or the new one.

        Redis names an active version if and only if it has all else: the first one is set by who wrote all of that,
        under the mark that was put first. Raises StoreUnavailable where Redis lost what it had.
        """
        key = self._home.key("active")
        if mark is not None:
            await self._declare_whole(mark)
            await mark.set_if_there(key, version)
        elif not await self._home.redis.set(key, version, xx=True):
            raise StoreUnavailable("Redis lost its contents: run `python -m training models rebuild-redis`")

    async def trial(self) -> Trial | None:
        """The version on trial."""
        value: bytes | None = await self._home.redis.get(self._home.key("trial"))  # type: ignore[assignment]  # not decoded
        return None if value is None else Trial.read(value.decode())

    async def set_trial(self, trial: Trial | None, mark: Mark | None = None) -> None:
        """Begin a trial, or end the one that runs. Raises StoreUnavailable where Redis lost what was marked."""
        key = self._home.key("trial")
        if trial is None:
            await self._home.redis.unlink(key)
        elif mark is not None:
            await mark.set_if_there(key, str(trial))
        else:
            await self._home.redis.set(key, str(trial))

    async def upcoming(self) -> str | None:
        """The version that is being published."""
        value: bytes | None = await self._home.redis.get(self._home.key("next"))  # type: ignore[assignment]  # not decoded
        return None if value is None else value.decode()

    async def announce(self, version: str | None) -> None:
        """Have services load a version that is to serve soon and encode what is posted under it, too; None: no more."""
        if version is None:
            await self._home.redis.unlink(self._home.key("next"))
        else:
            await self._home.redis.set(self._home.key("next"), version, ex=_DAY_SECONDS)

    async def miss(self, everything: bool = True) -> None:
        """Say that Redis has not all that it should have: a service writes it anew then, or parts that have gaps."""
        pipeline = self._home.redis.pipeline(transaction=True)
        pipeline.unlink(self._home.key("active"))
        if self._keys.divided and everything:
            pipeline.unlink(self._home.key("whole"))
        note(pipeline, self._home, [EVERYTHING])
        await pipeline.execute()

    async def has_gaps(self) -> bool:
        """Whether a part of a cluster may lack what was written to it, though a version is active."""
        return await self.active_version() is not None and bool(await self._keys.parts_not_whole())

    async def check(self) -> None:
        """Raises RedisError where one of the servers of a cluster does not answer."""
        await self._keys.run_ids()

    async def put_users(self, version: str, user_ids: Sequence[str], vectors_KD: Vectors) -> None:
        """Write user vectors, fp16 [K, D]."""
        await self._put(version, "u", user_ids, vectors_KD)

    async def put_tweets(self, version: str, tweet_ids: Sequence[str], vectors_KD: Vectors) -> None:
        """Write tweet vectors, fp16 [K, D]."""
        await self._put(version, "t", tweet_ids, vectors_KD)

    async def users(self, version: str, user_ids: Sequence[str], dim: int) -> tuple[list[str], Vectors]:
        """The ids that have a vector, in the order asked for, and their vectors, fp16 [K', D]."""
        return await self._get(version, "u", user_ids, dim)

    async def tweets(self, version: str, tweet_ids: Sequence[str], dim: int) -> tuple[list[str], Vectors]:
        """The ids that have a vector, in the order asked for, and their vectors, fp16 [K', D]."""
        return await self._get(version, "t", tweet_ids, dim)

    async def forget_tweet(self, versions: Sequence[str], tweet_id: str) -> None:
        """Remove a tweet's vectors under some versions, so that it is no candidate from now on."""
        await self.forget_tweets(versions, [tweet_id])

    async def forget_tweets(self, versions: Sequence[str], tweet_ids: Sequence[str]) -> None:
        """The same of several, at most some hundred."""
        await self._forget("t", versions, tweet_ids)

    async def forget_user(self, versions: Sequence[str], user_id: str) -> None:
        """Remove a user's vectors under some versions."""
        await self._forget("u", versions, [user_id])

    def user_ids(self) -> AsyncIterator[str]:
        """Who has a vector under some version; every key is looked at, and one may come twice."""
        return self._ids("u")

    def tweet_ids(self) -> AsyncIterator[str]:
        """The same of tweets."""
        return self._ids("t")

    async def versions(self) -> set[str]:
        """All that have a vector; every key of theirs is looked at."""
        return {name.partition(":")[0] async for name in self._scan("*")}

    async def delete_version(self, version: str) -> None:
        """Remove all vectors of a version."""
        for part in self._keys.parts:
            batch: list[bytes] = []
            async for key in part.scan("v", version, "*"):
                batch.append(key)
                if len(batch) == _CHUNK:
                    await part.redis.unlink(*batch)
                    batch.clear()
            if batch:
                await part.redis.unlink(*batch)
            pipeline = part.redis.pipeline(transaction=False)
            note(pipeline, part, [f"v:{version}:{kind}:*" for kind in ("t", "u")])
            await pipeline.execute()

    async def _ids(self, kind: str) -> AsyncIterator[str]:
        async for name in self._scan(f"*:{kind}:*"):
            yield name.split(":")[2]

    async def _scan(self, pattern: str) -> AsyncIterator[str]:
        for part in self._keys.parts:
            start = len(part.key("v", ""))
            async for key in part.scan("v", pattern):
                yield key.decode()[start:]

    async def _put(self, version: str, kind: str, ids: Sequence[str], vectors_KD: Vectors) -> None:
        if vectors_KD.dtype != np.float16 or len(ids) != len(vectors_KD):
            raise ValueError(f"{len(ids)} ids need as many float16 vectors, got {vectors_KD.dtype} {vectors_KD.shape}")
        for start in range(0, len(ids), _CHUNK):
            some = range(start, min(start + _CHUNK, len(ids)))
            groups = self._keys.grouped(some, lambda place: self._keys.of(ids[place]))
            await at_once([self._put_some(part, version, kind, ids, vectors_KD, some) for part, some in groups.items()])

    async def _put_some(
        self, part: Part, version: str, kind: str, ids: Sequence[str], vectors_KD: Vectors, places: Sequence[int]
    ) -> None:
        keys = [part.key("v", version, kind, ids[place]) for place in places]
        pipeline = part.redis.pipeline(transaction=True)
        for key, place in zip(keys, places, strict=True):
            pipeline.set(key, vectors_KD[place].astype("<f2").tobytes())
        note(pipeline, part, keys)
        await pipeline.execute()

    async def _forget(self, kind: str, versions: Sequence[str], ids: Sequence[str]) -> None:
        for part, some in self._keys.grouped(ids, self._keys.of).items():
            if keys := [part.key("v", version, kind, id_) for version in versions for id_ in some]:
                pipeline = part.redis.pipeline(transaction=True)
                pipeline.unlink(*keys)
                note(pipeline, part, keys)
                await pipeline.execute()

    async def _get(self, version: str, kind: str, ids: Sequence[str], dim: int) -> tuple[list[str], Vectors]:
        groups = self._keys.grouped(ids, self._keys.of) if ids else {}
        asked = [(part, [part.key("v", version, kind, id_) for id_ in some]) for part, some in groups.items()]
        if len(asked) == 1:
            ((part, keys),) = asked
            values: Any = await part.redis.mget(keys)
        else:
            replies = await self._keys.read(asked, lambda pipeline, keys: pipeline.mget(keys)) if asked else []
            values = _in_order(ids, groups.values(), replies)
        found = [id_ for id_, value in zip(ids, values, strict=True) if value is not None]
        data = b"".join(value for value in values if value is not None)
        return found, np.frombuffer(data, dtype="<f2").reshape(len(found), dim)

    async def _declare_whole(self, mark: Mark) -> None:
        """Of a cluster's parts. Raises StoreUnavailable where one of their servers is another one than at the start."""
        if await self._keys.run_ids() != mark.run_ids:
            raise StoreUnavailable("Redis lost its contents while they were written: run the same command again")
        await self._keys.mark_whole(mark.run_ids)


def _in_order(
    ids: Sequence[str], groups: Iterable[Sequence[str]], replies: Iterable[Sequence[bytes | None]]
) -> list[bytes | None]:
    value_of = {
        id_: value
        for some, values in zip(groups, replies, strict=True)
        for id_, value in zip(some, values, strict=True)
    }
    return [value_of[id_] for id_ in ids]
