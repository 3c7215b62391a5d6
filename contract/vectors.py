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

from collections.abc import AsyncIterator, Sequence

import numpy as np
import numpy.typing as npt
from redis.asyncio import Redis

from contract.changelog import EVERYTHING, note
from contract.errors import StoreUnavailable
from contract.marks import Mark
from contract.trial import Trial

Vectors = npt.NDArray[np.float16]

_CHUNK = 1_000
_DAY_SECONDS = 86_400


class VectorStore:
    """fp16 vectors (2 x d bytes each: 800 B at d = 400). Redis errors pass through as redis.exceptions.RedisError."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace

    async def active_version(self) -> str | None:
        """The version that serves, or None where none was ever activated."""
        value: bytes | None = await self._redis.get(f"{self._namespace}:active")  # type: ignore[assignment]  # not decoded
        return None if value is None else value.decode()

    async def activate(self, version: str, mark: Mark | None = None) -> None:
        """Move the pointer: one write, so that every reader sees the old version or the new one.

        Redis names an active version if and only if it has all else: the first one is set by who wrote all of that,
        under the mark that was put first. Raises StoreUnavailable where Redis lost what it had.
        """
        key = f"{self._namespace}:active"
        if mark is not None:
            await mark.set_if_there(key, version)
        elif not await self._redis.set(key, version, xx=True):
            raise StoreUnavailable("Redis lost its contents: run `python -m training models rebuild-redis`")

    async def trial(self) -> Trial | None:
        """The version on trial."""
        value: bytes | None = await self._redis.get(f"{self._namespace}:trial")  # type: ignore[assignment]  # not decoded
        return None if value is None else Trial.read(value.decode())

    async def set_trial(self, trial: Trial | None, mark: Mark | None = None) -> None:
        """Begin a trial, or end the one that runs. Raises StoreUnavailable where Redis lost what was marked."""
        key = f"{self._namespace}:trial"
        if trial is None:
            await self._redis.unlink(key)
        elif mark is not None:
            await mark.set_if_there(key, str(trial))
        else:
            await self._redis.set(key, str(trial))

    async def upcoming(self) -> str | None:
        """The version that is being published."""
        value: bytes | None = await self._redis.get(f"{self._namespace}:next")  # type: ignore[assignment]  # not decoded
        return None if value is None else value.decode()

    async def announce(self, version: str | None) -> None:
        """Have services load a version that is to serve soon and encode what is posted under it, too; None: no more."""
        if version is None:
            await self._redis.unlink(f"{self._namespace}:next")
        else:
            await self._redis.set(f"{self._namespace}:next", version, ex=_DAY_SECONDS)

    async def miss(self) -> None:
        """Say that Redis has not all that it should have: a service writes everything anew then."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.unlink(f"{self._namespace}:active")
        note(pipeline, self._namespace, [EVERYTHING])
        await pipeline.execute()

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
        await self._forget([self._key(version, "t", id_) for version in versions for id_ in tweet_ids])

    async def forget_user(self, versions: Sequence[str], user_id: str) -> None:
        """Remove a user's vectors under some versions."""
        await self._forget([self._key(version, "u", user_id) for version in versions])

    def user_ids(self) -> AsyncIterator[str]:
        """Who has a vector under some version; every key is looked at, and one may come twice."""
        return self._ids("u")

    def tweet_ids(self) -> AsyncIterator[str]:
        """The same of tweets."""
        return self._ids("t")

    async def versions(self) -> set[str]:
        """All that have a vector; every key of theirs is looked at."""
        start = len(f"{self._namespace}:v:")
        keys = self._redis.scan_iter(match=f"{self._namespace}:v:*", count=_CHUNK)
        return {key.decode()[start:].partition(":")[0] async for key in keys}

    async def delete_version(self, version: str) -> None:
        """Remove all vectors of a version."""
        batch: list[bytes] = []
        async for key in self._redis.scan_iter(match=f"{self._namespace}:v:{version}:*", count=_CHUNK):
            batch.append(key)
            if len(batch) == _CHUNK:
                await self._redis.unlink(*batch)
                batch.clear()
        if batch:
            await self._redis.unlink(*batch)
        pipeline = self._redis.pipeline(transaction=False)
        note(pipeline, self._namespace, [f"v:{version}:{kind}:*" for kind in ("t", "u")])
        await pipeline.execute()

    async def _ids(self, kind: str) -> AsyncIterator[str]:
        start = len(f"{self._namespace}:v:")
        async for key in self._redis.scan_iter(match=f"{self._namespace}:v:*:{kind}:*", count=_CHUNK):
            yield key.decode()[start:].split(":")[2]

    async def _put(self, version: str, kind: str, ids: Sequence[str], vectors_KD: Vectors) -> None:
        if vectors_KD.dtype != np.float16 or len(ids) != len(vectors_KD):
            raise ValueError(f"{len(ids)} ids need as many float16 vectors, got {vectors_KD.dtype} {vectors_KD.shape}")
        for start in range(0, len(ids), _CHUNK):
            part = slice(start, start + _CHUNK)
            keys = [self._key(version, kind, id_) for id_ in ids[part]]
            pipeline = self._redis.pipeline(transaction=True)
            for key, vector_D in zip(keys, vectors_KD[part], strict=True):
                pipeline.set(key, vector_D.astype("<f2").tobytes())
            note(pipeline, self._namespace, keys)
            await pipeline.execute()

    async def _forget(self, keys: Sequence[str]) -> None:
        if keys:
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.unlink(*keys)
            note(pipeline, self._namespace, keys)
            await pipeline.execute()

    async def _get(self, version: str, kind: str, ids: Sequence[str], dim: int) -> tuple[list[str], Vectors]:
        keys = [self._key(version, kind, id_) for id_ in ids]
        values: list[bytes | None] = await self._redis.mget(keys) if keys else []  # type: ignore[assignment]  # not decoded
        found = [id_ for id_, value in zip(ids, values, strict=True) if value is not None]
        data = b"".join(value for value in values if value is not None)
        return found, np.frombuffer(data, dtype="<f2").reshape(len(found), dim)

    def _key(self, version: str, kind: str, id_: str) -> str:
        return f"{self._namespace}:v:{version}:{kind}:{id_}"
