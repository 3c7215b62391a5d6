"""Where in all stores something stands: every row, key, value and file."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import select

from contract.embedded import open_redis, redis_server
from contract.environment import StoreSettings
from contract.tables import Base, open_database


async def places(stores: StoreSettings, wanted: bytes) -> list[str]:
    """A line each; as a whole word where it is one. Not the log of changes, which the next thousands of writes end."""
    is_text = wanted.isascii() and wanted.decode().isprintable()
    word = re.compile(rb"(?<![\w-])" + re.escape(wanted) + rb"(?![\w-])" if is_text else re.escape(wanted))
    found = [place async for place, value in everything(stores) if word.search(value)]
    return found + [str(path) for path in files(stores) if word.search(str(path).encode() + b"\0" + path.read_bytes())]


async def everything(stores: StoreSettings) -> AsyncIterator[tuple[str, bytes]]:
    """All rows of SQL and all keys of Redis, with what they hold."""
    with redis_server(stores) as (url, _):
        async with open_database(stores.sqlalchemy_url) as engine, open_redis(url) as redis:
            async with engine.connect() as connection:
                for table in Base.metadata.sorted_tables:
                    for row in await connection.execute(select(table)):
                        yield f"{table.name} {row}", b"\0".join(_bytes(value) for value in row)
            log = f"{stores.redis_namespace}:changes"
            async for key in redis.scan_iter(match=f"{stores.redis_namespace}:*", count=1_000):
                if key.decode() != log:
                    yield key.decode(), key + b"\0" + _bytes(await _value(redis, key))


def files(stores: StoreSettings) -> list[Path]:
    """Of models, pictures, runs and the database with its log, where these are files; not those of Redis."""
    kept = [path for path in stores.var_dir.rglob("*") if path.is_file() and "valkey" not in path.parts]
    return sorted({*kept, *(path for path in stores.models_dir.rglob("*") if path.is_file())})


async def _value(redis: Redis, key: bytes) -> Any:
    commands: dict[Any, tuple[str, tuple[int, ...]]] = {
        b"none": ("get", ()),  # gone since it was found
        b"string": ("get", ()),
        b"set": ("smembers", ()),
        b"zset": ("zrange", (0, -1)),
        b"hash": ("hgetall", ()),
        b"list": ("lrange", (0, -1)),
    }
    command, arguments = commands[await redis.type(key)]
    return await getattr(redis, command)(key, *arguments)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, list | set):
        return b"\0".join(_bytes(one) for one in value)
    return str(value).encode()
