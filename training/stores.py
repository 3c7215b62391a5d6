"""The stores that a command works on, opened together."""

import asyncio
import fcntl
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from contract.blobs import BlobStore
from contract.embedded import open_store, redis_server
from contract.environment import StoreSettings
from contract.errors import ArtifactInvalid
from contract.keyspace import RedisStore
from contract.model_folders import ModelFolders, open_models
from contract.tables import open_database
from contract.versions import kept_versions, known_versions
from training.errors import TrainingError

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stores:
    """Database and Redis, the latter with the namespace of all keys; pictures and models, opened when they are used."""

    engine: AsyncEngine
    redis: RedisStore
    settings: StoreSettings

    @property
    def namespace(self) -> str:
        """First part of every Redis key."""
        return self.settings.redis_namespace

    @cached_property
    def blobs(self) -> BlobStore:
        """The pictures. Raises StoreUnavailable."""
        return BlobStore(self.settings.image_store_url)

    @cached_property
    def models(self) -> ModelFolders:
        """The exported versions. Raises StoreUnavailable."""
        return open_models(self.settings)


def with_stores(settings: StoreSettings, work: Callable[[Stores], Awaitable[T]]) -> T:
    """Open the stores, do the work, close them. Raises StoreUnavailable where one cannot be used."""

    async def run(redis_url: str) -> T:
        async with open_database(settings.sqlalchemy_url) as engine, open_store(redis_url, settings) as redis:
            return await work(Stores(engine, redis, settings))

    with redis_server(settings) as (redis_url, _):
        return asyncio.run(run(redis_url))


def with_sql(settings: StoreSettings, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Open SQL alone, do the work, close it. Raises StoreUnavailable where it cannot be used."""

    async def run() -> T:
        async with open_database(settings.sqlalchemy_url) as engine:
            return await work(engine)

    return asyncio.run(run())


def with_sql_and_pictures(settings: StoreSettings, work: Callable[[AsyncEngine, BlobStore], Awaitable[T]]) -> T:
    """The same with the pictures."""
    return with_sql(settings, lambda engine: work(engine, BlobStore(settings.image_store_url)))


def with_models(settings: StoreSettings, work: Callable[[ModelFolders, AsyncEngine], Awaitable[T]]) -> T:
    """The same with the exported versions."""
    return with_sql(settings, lambda engine: work(open_models(settings), engine))


async def fetch_kept(models: ModelFolders, engine: AsyncEngine) -> None:
    """Have the folders of kept versions on this machine, where MODELS_URL has them and it has not.

    One that is damaged there is logged, and left: who cannot do without it says so.
    """
    if models.shared is not None:
        there = models.shared.versions()
        for version in kept_versions(await known_versions(engine)) & there:
            try:
                await asyncio.to_thread(models.need, version)
            except ArtifactInvalid as error:
                log.error("version %s is not on this machine, and cannot be fetched: %s", version, error)


@contextmanager
def one_at_a_time(runs: Path) -> Iterator[None]:
    """Hold the lock of this VAR_DIR; the kernel releases it however the process ends.

    Raises TrainingError where another retrain, publish or encode holds it.
    """
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError("another retrain, publish or encode is running here: wait for it, or end it") from error
        yield
