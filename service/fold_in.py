"""Vectors of users whom the active version was not trained on, kept up with what they retweet and whom they follow.

A change puts the user on a list in Redis, which every process works off. When another version comes to serve, all who
retweeted and have no trained vector under it are listed, since they may have changed while it did not serve.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

from sqlalchemy import select

from contract.fold_in import FoldInStores, fit_user, put_fitted
from contract.tables import Retweet
from contract.transactions import changing
from contract.waiting import AFTER_ALL_OTHERS, WaitingUsers, now_ms
from service.active import ActiveModel, ActiveModels
from service.metrics import Metrics

_RETRY_MS = 5_000
_POLL_SECONDS = 0.5
_AT_A_TIME = 500


class FoldIns:
    """The work on the list (contract/waiting.py), a user at a time in a process."""

    def __init__(self, waiting: WaitingUsers, stores: FoldInStores, models: ActiveModels, metrics: Metrics) -> None:
        self._waiting, self._stores, self._models, self._metrics = waiting, stores, models, metrics
        self._listed = asyncio.Event()
        self._taken: set[str] = set()
        self._filled: set[str] = set()
        """Versions."""
        self._anew = False

    async def changed(self, user_ids: Iterable[str]) -> None:
        """Users retweeted, followed, or took that back: who has no trained vector is folded in soon.

        What else they do until then counts too. While no model serves nobody is listed: `fill_up` comes with the first.
        """
        serving = self._models.serving()
        untrained = [id_ for id_ in user_ids if any(id_ not in model.artifact.trained_users for model in serving)]
        if untrained:
            await self._list(untrained)

    async def waiting(self) -> int:
        """How many users are listed. Raises RedisError."""
        return await self._waiting.count()

    async def forget(self, user_id: str) -> None:
        """Take a user off the list who is no more."""
        await self._waiting.take(user_id)

    async def fill_up(self) -> None:
        """Once a version, the active one and that on trial: list who retweeted and has no trained vector.

        At the start, those without any vector.
        """
        if self._anew:
            self._filled, self._anew = set(), False
        starting = not self._filled
        serving = self._models.serving()
        for model in serving:
            if model.version not in self._filled:
                await self._fill_up(model, starting)
        self._filled = {model.version for model in serving}

    async def _fill_up(self, model: ActiveModel, starting: bool) -> None:
        async with self._stores.engine.connect() as connection:
            retweeters = await connection.scalars(select(Retweet.user_id).distinct().order_by(Retweet.user_id))
            untrained = [user_id for user_id in retweeters if user_id not in model.artifact.trained_users]
        for start in range(0, len(untrained), _AT_A_TIME):
            some = untrained[start : start + _AT_A_TIME]
            if starting:
                known, _ = await self._stores.vectors.users(model.version, some, model.manifest.dim)
                some = sorted(set(some).difference(known))
            await self._list(some, AFTER_ALL_OTHERS)

    def start_anew(self) -> None:
        """List all again who have no vector: Redis lost the list, and what was folded in."""
        self._anew = True

    async def work_off(self) -> None:
        """Fold in whoever is due, while this process has the active version: it may have yet to follow the pointer.

        What fails is counted and raised, and tried again by the next call.
        """
        await self._give_back(now_ms() + _RETRY_MS)
        try:
            while await self._is_active():
                user_id = await self._next()
                self._taken.add(user_id)
                if not await self._is_active():
                    await self._give_back(now_ms())
                    return
                await self._fold_in(user_id)
                self._taken.discard(user_id)
        finally:
            await self._give_back(now_ms() + _RETRY_MS)

    async def _fold_in(self, user_id: str) -> None:
        for model in self._models.serving():
            if user_id not in model.artifact.trained_users:  # an import lists users without knowing
                await self._fold_in_under(model, user_id)

    async def _fold_in_under(self, model: ActiveModel, user_id: str) -> None:
        try:
            fitted = await fit_user(user_id, model.artifact, model.onnx, self._stores)
            async with changing(self._stores.engine) as connection:
                if not await put_fitted(connection, user_id, fitted, model.version, self._stores):
                    await self._list([user_id])
                    return
        except Exception:
            self._metrics.fold_ins.labels("failed").inc()
            raise
        self._metrics.fold_ins.labels("none" if fitted.u_D is None else "folded").inc()

    async def _is_active(self) -> bool:
        """Whether this process has the version that serves; where it has yet to follow the pointer, others work."""
        model = self._models.current
        return model is not None and await self._stores.vectors.active_version() == model.version

    async def _list(self, user_ids: Sequence[str], due_ms: float | None = None) -> None:
        self._metrics.fold_ins.labels("dropped").inc(await self._waiting.add(user_ids, due_ms))
        self._listed.set()

    async def _next(self) -> str:
        """Take the first who is due off the list, or wait for one; no other process gets the same."""
        while True:
            self._listed.clear()
            wait_seconds = _POLL_SECONDS
            if (first := await self._waiting.first()) is not None:
                user_id, due_ms = first
                left_ms = 0 if due_ms == AFTER_ALL_OTHERS else max(0, due_ms - now_ms())
                if left_ms == 0 and await self._waiting.take(user_id):
                    return user_id
                wait_seconds = min(wait_seconds, left_ms / 1000)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):  # wait_for of Python 3.11 can swallow a cancellation
                    await self._listed.wait()

    async def _give_back(self, due_ms: float) -> None:
        """List those who were taken off the list and not folded in."""
        await self._list(sorted(self._taken), due_ms)
        self._taken.clear()
