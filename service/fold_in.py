"""Vectors of users whom the active version was not trained on, kept up with what they retweet and whom they follow.

A change puts the user on a list in Redis, which every process works off. When another version comes to serve, all who
retweeted and have no trained vector under it are listed, since they may have changed while it did not serve.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from redis.asyncio import Redis
from sqlalchemy import select

from contract.fold_in import FoldInStores, fold_in_user
from contract.tables import Retweet
from service.active import ActiveModel, ActiveModels
from service.metrics import Metrics

MOST_WAITING = 100_000
_GATHER_MS = 200
_RETRY_MS = 5_000
_POLL_SECONDS = 0.5
_AT_A_TIME = 500
_AFTER_ALL_OTHERS = 1e15
"""A time that never comes (Unix ms): who is listed for then has a turn whenever nobody is due."""


class FoldIns:
    """The list, and the work on it, a user at a time in a process.

    Key: {ns}:fold_in, users by when they are due (Unix ms): each once, MOST_WAITING at most, the last ones go.
    """

    def __init__(
        self, redis: Redis, namespace: str, stores: FoldInStores, models: ActiveModels, metrics: Metrics
    ) -> None:
        self._redis, self._key = redis, f"{namespace}:fold_in"
        self._stores, self._models, self._metrics = stores, models, metrics
        self._listed = asyncio.Event()
        self._taken: set[str] = set()
        self._filled: ActiveModel | None = None

    async def changed(self, user_ids: Iterable[str]) -> None:
        """Users retweeted, followed, or took that back: who has no trained vector is folded in soon.

        What else they do until then counts too. While no model serves nobody is listed: `fill_up` comes with the first.
        """
        model = self._models.current
        if model is not None:
            untrained = [user_id for user_id in user_ids if user_id not in model.artifact.trained_users]
            await self._list(untrained, _now_ms() + _GATHER_MS)

    async def fill_up(self) -> None:
        """Once a version: list all who retweeted and have no trained vector; at the start, those without any vector."""
        model, starting = self._models.current, self._filled is None
        if model is None or model is self._filled:
            return
        async with self._stores.engine.connect() as connection:
            retweeters = await connection.scalars(select(Retweet.user_id).distinct().order_by(Retweet.user_id))
            untrained = [user_id for user_id in retweeters if user_id not in model.artifact.trained_users]
        for start in range(0, len(untrained), _AT_A_TIME):
            some = untrained[start : start + _AT_A_TIME]
            if starting:
                known, _ = await self._stores.vectors.users(model.version, some, model.manifest.dim)
                some = sorted(set(some).difference(known))
            await self._list(some, _AFTER_ALL_OTHERS)
        self._filled = model

    async def work_off(self) -> None:
        """Fold in whoever is due, for ever; what fails is counted and raised, and tried again by the next call."""
        await self._give_back()
        try:
            while True:
                user_id = await self._next()
                self._taken.add(user_id)
                await self._fold_in(user_id)
                self._taken.discard(user_id)
        finally:
            await self._give_back()

    async def _fold_in(self, user_id: str) -> None:
        model = self._models.required()
        if await self._stores.vectors.active_version() != model.version:  # this process has yet to follow the pointer
            await self._list([user_id], _now_ms() + _GATHER_MS)
            return
        try:
            there = await fold_in_user(user_id, model.artifact, model.onnx, self._stores)
        except Exception:
            self._metrics.fold_ins.labels("failed").inc()
            raise
        self._metrics.fold_ins.labels("folded" if there else "none").inc()

    async def _list(self, user_ids: Sequence[str], due_ms: float) -> None:
        """List users; who is listed for earlier stays so."""
        if not user_ids:
            return
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zadd(self._key, dict.fromkeys(user_ids, due_ms), lt=True)
        pipeline.zremrangebyrank(self._key, MOST_WAITING, -1)
        _, dropped = await pipeline.execute()
        self._metrics.fold_ins.labels("dropped").inc(dropped)
        self._listed.set()

    async def _next(self) -> str:
        """Take the first who is due off the list, or wait for one; no other process gets the same."""
        while True:
            self._listed.clear()
            wait_seconds = _POLL_SECONDS
            first: list[tuple[bytes, float]] = await self._redis.zrange(self._key, 0, 0, withscores=True)  # type: ignore[assignment]  # not decoded
            for member, due_ms in first:
                left_ms = 0 if due_ms == _AFTER_ALL_OTHERS else max(0, due_ms - _now_ms())
                if left_ms == 0 and await self._redis.zrem(self._key, member):
                    return member.decode()
                wait_seconds = min(wait_seconds, left_ms / 1000)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):  # wait_for of Python 3.11 can swallow a cancellation
                    await self._listed.wait()

    async def _give_back(self) -> None:
        """List those who were taken off the list and not folded in."""
        await self._list(sorted(self._taken), _now_ms() + _RETRY_MS)
        self._taken.clear()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
