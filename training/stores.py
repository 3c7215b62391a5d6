"""The stores that a command works on, opened together."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from contract.blobs import BlobStore
from contract.embedded import open_store, redis_server
from contract.environment import StoreSettings
from contract.keyspace import RedisStore
from contract.tables import open_database

T = TypeVar("T")


@dataclass(frozen=True)
class Stores:
    """Database, blob store and Redis, the last with the namespace of all keys."""

    engine: AsyncEngine
    blobs: BlobStore
    redis: RedisStore
    namespace: str


def with_stores(settings: StoreSettings, work: Callable[[Stores], Awaitable[T]]) -> T:
    """Open the stores, do the work, close them. Raises StoreUnavailable where one cannot be used."""

    async def run(redis_url: str) -> T:
        async with (
            open_database(settings.sqlalchemy_url) as engine,
            open_store(redis_url, settings) as redis,
        ):
            return await work(Stores(engine, BlobStore(settings.image_store_url), redis, settings.redis_namespace))

    with redis_server(settings) as (redis_url, _):
        return asyncio.run(run(redis_url))


def with_sql_and_pictures(settings: StoreSettings, work: Callable[[AsyncEngine, BlobStore], Awaitable[T]]) -> T:
    """Open these alone, do the work, close them. Raises StoreUnavailable where one cannot be used."""

    async def run() -> T:
        async with open_database(settings.sqlalchemy_url) as engine:
            return await work(engine, BlobStore(settings.image_store_url))

    return asyncio.run(run())
