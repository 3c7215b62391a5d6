"""Where keys are: all on one server, or on a Redis Cluster in parts, each of which is in one slot.

A key belongs to an id (a user's or a tweet's), or to nobody. On a cluster, those of an id have a prefix that the id's
hash picks among so many parts, and what belongs to nobody has one of its own, so that a write and its note in the log
of changes are on one server, in one MULTI, and all that is promised of one server holds of each part. Elsewhere
everything has the same prefix: the namespace.

Keys (ns is the namespace), on a cluster only:
    {ns}:parts    in how many parts keys are divided; one key
    {ns}:whole    the run of the server under which the part was written in full; one key a part
"""

import asyncio
import itertools
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from contract.cluster import Address, Cluster
from contract.errors import StoreUnavailable

RedisStore = Redis | Cluster
"""One server (or what looks like one), or a cluster."""

T = TypeVar("T")

_SCANNED_AT_A_TIME = 1_000


@dataclass(frozen=True)
class Part:
    """Keys that are on one server."""

    prefix: str
    redis: Redis = field(compare=False)
    _cluster: Cluster | None = field(default=None, compare=False)

    def key(self, *names: str) -> str:
        """A key of this part."""
        return ":".join((self.prefix, *names))

    @cached_property
    def _slot(self) -> int:
        return key_slot(self.prefix.encode())

    @property
    def address(self) -> Address | None:
        """Of the server that has it; None where there is only one, or none is known."""
        return None if self._cluster is None else self._cluster.address(self._slot)

    @property
    def run_id(self) -> str | None:
        """The run of its server, as that said when it was connected with; None where there is only one."""
        return None if self._cluster is None else self._cluster.run_id(self._slot)

    async def scan(self, *names: str) -> AsyncIterator[bytes]:
        """Its keys that match, one after the other, all that are there throughout; some may come twice."""
        while True:
            server = await self._server()
            async for key in self.redis.scan_iter(match=self.key(*names), count=_SCANNED_AT_A_TIME):
                yield key
            if await self._server() == server:  # it has not moved meanwhile
                return

    async def _server(self) -> Address | None:
        """What has it now. SCAN names no key, so that no server would say to whom the slot has moved."""
        if self._cluster is not None:
            await self.redis.exists(self.key("whole"))
        return self.address


class Keyspace:
    """A namespace's parts. Redis errors pass through as redis.exceptions.RedisError."""

    def __init__(self, redis: RedisStore, namespace: str) -> None:
        if isinstance(redis, Cluster):
            self.home, *self._of_ids = (
                Part(prefix, redis.client(prefix), redis) for prefix in _prefixes(namespace, redis.parts)
            )
        else:
            self.home = Part(namespace, redis)
            self._of_ids = [self.home]
        self.divided = isinstance(redis, Cluster)
        self.parts = list(dict.fromkeys([self.home, *self._of_ids]))
        self._by_prefix = {part.prefix: part for part in self.parts}

    def of(self, id_: str) -> Part:
        """The part of an id's keys."""
        return self._of_ids[zlib.crc32(id_.encode()) % len(self._of_ids) if self.divided else 0]

    def key(self, family: str, id_: str) -> str:
        """A key that belongs to an id."""
        return f"{self.of(id_).prefix}:{family}:{id_}"

    def having(self, key: str) -> Part:
        """The part that a key is of."""
        return self._by_prefix[key[: key.index("}") + 1]] if self.divided else self.home

    def grouped(self, items: Iterable[T], part_of: Callable[[T], Part]) -> dict[Part, list[T]]:
        """Items by their part, in their order."""
        if not self.divided:
            return {self.home: list(items)}
        groups: defaultdict[Part, list[T]] = defaultdict(list)
        for item in items:
            groups[part_of(item)].append(item)
        return groups

    async def read(self, items: Sequence[tuple[Part, T]], command: Callable[[Pipeline, T], object]) -> list[Any]:
        """A command for each item, and the replies in their order: one round trip, on a cluster one a server at a time.

        Where a part has moved meanwhile all are read once more.
        """
        replies = await self.read_what_answers(items, command)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    async def read_what_answers(
        self, items: Sequence[tuple[Part, T]], command: Callable[[Pipeline, T], object]
    ) -> list[Any]:
        """The same, with the RedisError of a server that does not answer as the reply to each of its items."""
        servers = _by_server(items)
        replies = await _read(items, servers, command)
        failed = any(isinstance(reply, RedisConnectionError) for reply in replies)
        if failed and (moved := _by_server(items)) != servers:
            return await _read(items, moved, command)
        return replies

    async def run_ids(self) -> dict[Part, str]:
        """The run of each part's server, now; nothing where there is only one server."""
        if not self.divided:
            return {}
        await self.read([(part, part.key("whole")) for part in self.parts], lambda pipeline, key: pipeline.exists(key))
        return {part: part.run_id for part in self.parts if part.run_id is not None}

    async def parts_not_whole(self) -> list[Part]:
        """Those whose server was started again, or is another one, since they were written in full."""
        if not self.divided:
            return []
        written = await self.read([(part, part.key("whole")) for part in self.parts], lambda pipe, key: pipe.get(key))
        return [
            part
            for part, run_id in zip(self.parts, written, strict=True)
            if run_id is None or run_id.decode() != part.run_id
        ]

    async def lacking(self) -> Callable[[str], bool] | None:
        """Of which ids keys may be missing, as their parts are not whole; None: of all, and what belongs to nobody."""
        gaps = await self.parts_not_whole()
        return None if not gaps or self.home in gaps else lambda id_: self.of(id_) in gaps

    async def mark_whole(self, run_ids: dict[Part, str]) -> None:
        """Say that parts were written in full while these were their servers' runs."""
        for part, run_id in run_ids.items():
            await part.redis.set(part.key("whole"), run_id)


async def agree_on_parts(redis: RedisStore, namespace: str) -> None:
    """Raises StoreUnavailable where the keys of a cluster are divided into another number of parts."""
    if not isinstance(redis, Cluster):
        return
    home = Keyspace(redis, namespace).home
    await home.redis.set(home.key("parts"), redis.parts, nx=True)
    there: Any = await home.redis.get(home.key("parts"))
    if there is not None and int(there) != redis.parts:
        raise StoreUnavailable(
            f"REDIS_PARTS is {redis.parts}, but what is in this Redis Cluster is divided into {int(there)} parts: set "
            f"REDIS_PARTS={int(there)}, or end all services and start them with another REDIS_NAMESPACE, which they "
            "write anew"
        )


def _by_server(items: Sequence[tuple[Part, Any]]) -> dict[Address | None, list[int]]:
    """Places of items whose parts are on the same server."""
    servers: defaultdict[Address | None, list[int]] = defaultdict(list)
    address_of = {part: part.address for part in dict.fromkeys(part for part, _ in items)}
    for place, (part, _) in enumerate(items):
        servers[address_of[part]].append(place)
    return servers


async def _read(
    items: Sequence[tuple[Part, T]],
    servers: dict[Address | None, list[int]],
    command: Callable[[Pipeline, T], object],
) -> list[Any]:
    async def ask(places: list[int]) -> list[Any]:
        pipeline = items[places[0]][0].redis.pipeline(transaction=False)
        for place in places:
            command(pipeline, items[place][1])
        try:
            replies: list[Any] = await pipeline.execute()
        except RedisError as error:
            return [error] * len(places)
        return replies

    if len(servers) == 1:
        return await ask(next(iter(servers.values())))
    answers = await at_once([ask(places) for places in servers.values()])
    found: list[Any] = [None] * len(items)
    for places, replies in zip(servers.values(), answers, strict=True):
        for place, reply in zip(places, replies, strict=True):
            found[place] = reply
    return found


async def at_once(work: Sequence[Any]) -> list[Any]:
    """Do all of it, at the same time, to its end; then raise the first error, if there was any."""
    if len(work) == 1:
        return [await work[0]]
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@lru_cache
def _prefixes(namespace: str, parts: int) -> list[str]:
    """Of what belongs to nobody, then of each part: hash tags whose slots are spread evenly over all there are."""
    found = [f"{{{namespace}}}"]
    for part in range(parts):
        tags = (f"{{{namespace}:{part:02}-{number}}}" for number in itertools.count())
        found.append(next(tag for tag in tags if key_slot(tag.encode()) * parts // REDIS_CLUSTER_HASH_SLOTS == part))
    return found
