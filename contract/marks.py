"""Marks in Redis that go when Redis loses its contents: who writes much of it sees in the end whether it did.

Keys (ns is the namespace):
    {ns}:writing:{what}  a publish of a version or a rebuild at work; one each, and for a week one that was killed
    {ns}:restoring       the process of the service that writes everything anew; one key, for 20 s after a kill
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from contract.errors import StoreUnavailable
from contract.keyspace import Keyspace, Part, RedisStore
from contract.tasks import to_its_end

log = logging.getLogger(__name__)

_WEEK_SECONDS = 7 * 86_400
_ALIVE_SECONDS = 20
_BEAT_SECONDS = 5.0


@dataclass(frozen=True)
class Mark:
    """A key and what was written there."""

    redis: Redis
    key: str
    value: bytes
    run_ids: dict[Part, str] = field(default_factory=dict)
    """On a cluster: the run of each part's server when the mark was put."""

    async def set_if_there(self, name: str, value: str) -> None:
        """Write another key, unless the mark is gone: in one step. Raises StoreUnavailable where it is."""
        while True:
            async with self.redis.pipeline(transaction=True) as pipeline:
                await pipeline.watch(self.key)
                if await pipeline.get(self.key) != self.value:
                    raise StoreUnavailable(
                        "Redis lost its contents while they were written: run the same command again"
                    )
                pipeline.multi()  # type: ignore[no-untyped-call]
                pipeline.set(name, value)
                try:
                    await pipeline.execute()
                except WatchError:  # it is gone, or its life was prolonged
                    continue
                return

    async def remove(self) -> None:
        """Take it away, where it is this one still."""
        if await self.redis.get(self.key) == self.value:
            await self.redis.unlink(self.key)


@asynccontextmanager
async def writing(redis: RedisStore, namespace: str, what: str) -> AsyncIterator[Mark]:
    """A mark for as long as the block takes: who writes the same elsewhere loses theirs."""
    mark = await _new_mark(redis, namespace, "writing", what)
    try:
        await mark.redis.set(mark.key, mark.value, ex=_WEEK_SECONDS)
        yield mark
    finally:
        await to_its_end(mark.remove())


async def is_written(redis: RedisStore, namespace: str, what: str) -> bool:
    """Whether somebody is at it."""
    home = Keyspace(redis, namespace).home
    return bool(await home.redis.exists(home.key("writing", what)))


@asynccontextmanager
async def restoring(redis: RedisStore, namespace: str) -> AsyncIterator[Mark | None]:
    """The one mark of whoever writes everything anew; None where another process has it."""
    mark = await _new_mark(redis, namespace, "restoring")
    over = asyncio.Event()
    beat = None
    try:
        if await mark.redis.set(mark.key, mark.value, nx=True, ex=_ALIVE_SECONDS):
            beat = asyncio.create_task(_keep(mark, over))
        yield mark if beat else None
    finally:
        over.set()
        await to_its_end(_give_up(mark, beat))


async def _new_mark(redis: RedisStore, namespace: str, *names: str) -> Mark:
    keys = Keyspace(redis, namespace)
    return Mark(keys.home.redis, keys.home.key(*names), uuid.uuid4().bytes, await keys.run_ids())


async def _give_up(mark: Mark, beat: asyncio.Task[None] | None) -> None:
    if beat is not None:
        await beat
    await mark.remove()


async def _keep(mark: Mark, over: asyncio.Event) -> None:
    """Until it is over or gone: whoever writes sees that in the end."""
    try:
        while not over.is_set() and await mark.redis.get(mark.key) == mark.value:
            await mark.redis.expire(mark.key, _ALIVE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(_BEAT_SECONDS):
                    await over.wait()
    except RedisError as error:
        log.warning("the mark %s is not kept up any more: %r", mark.key, error)
