"""Redis Cluster: plain clients of redis-py, each of which follows the slot of its keys to whichever server has it.

That is how redis-py follows a master that Sentinel names. Its own cluster client is not used, since it starts a thread
for each command of a MULTI (docs/decisions/0023-redis-cluster.md).
"""

import asyncio
import random
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from contract.tasks import end

Address = tuple[str, int]

_SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
_CONNECTIONS = 16
"""Of a slot: more requests than that at a time wait for one another."""


def is_cluster(url: str) -> bool:
    """Whether a URL is that of a cluster."""
    return url.partition("://")[0] in _SCHEMES


class Cluster:
    """Clients of the slots that are used, and which server has each slot. Redis errors pass through as RedisError."""

    def __init__(self, url: str, parts: int, patience_seconds: float) -> None:
        """`redis+cluster://[user:password@]host:port,host:port`; with TLS `rediss+cluster://`. Raises ValueError."""
        self.parts = parts
        """In how many parts keys are divided by id (contract/keyspace.py)."""
        self._seeds, options = _parsed(url)
        self._tls = options.pop("connection_class", Connection) is not Connection
        self._patience_seconds = patience_seconds
        self._options = {**options, "socket_timeout": patience_seconds, "socket_connect_timeout": patience_seconds}
        self._addresses: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._run_ids: dict[Address, str] = {}
        self._clients: dict[int, Redis] = {}
        self._asking: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Close all clients."""
        if self._asking is not None:
            await end(self._asking)
        for client in self._clients.values():
            await client.aclose()

    def client(self, key: str) -> Redis:
        """The client for a key and all that have its hash tag."""
        slot = key_slot(key.encode())
        if slot not in self._clients:
            pool = BlockingConnectionPool(
                connection_class=_TlsFollower if self._tls else _Follower,
                max_connections=_CONNECTIONS,
                timeout=self._patience_seconds,
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
                cluster=self,
                slot=slot,
                **self._options,
            )
            self._clients[slot] = Redis.from_pool(pool)
        return self._clients[slot]

    def address(self, slot: int) -> Address | None:
        """Of the server that has a slot, as far as is known."""
        return self._addresses[slot]

    def run_id(self, slot: int) -> str | None:
        """The run of the server that has a slot: another one once it was started again or another server took over."""
        address = self.address(slot)
        return None if address is None else self._run_ids.get(address)

    def met(self, address: Address, run_id: str) -> None:
        """A server was connected with."""
        self._run_ids[address] = run_id

    async def ask_who_has_what(self) -> None:
        """Ask one server after the other until one answers; who asks meanwhile waits for the same answer.

        Raises RedisConnectionError where none does in time.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        fault: Exception | None = None
        try:
            async with asyncio.timeout(self._patience_seconds):
                known = list({*self._seeds, *filter(None, self._addresses)})
                for host, port in random.sample(known, len(known)):
                    try:
                        self._addresses = await self._told_by(host, port)
                        return
                    except RedisError as error:
                        fault = error
        except TimeoutError as error:
            fault = fault or error
        why = str(fault) or repr(fault)
        raise RedisConnectionError(f"no server of the cluster says who has which slot: {why}") from fault

    async def _told_by(self, host: str, port: int) -> list[Address | None]:
        """Of each slot; where one hangs there is time for others."""
        plain = SSLConnection if self._tls else Connection
        short = self._patience_seconds / 4
        options = {**self._options, "socket_connect_timeout": short, "socket_timeout": short}
        pool = BlockingConnectionPool(connection_class=plain, host=host, port=port, **options)
        async with Redis.from_pool(pool) as client:
            told: Any = await client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        if not told:
            raise RedisConnectionError(f"{host}:{port} is of no cluster")
        addresses: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (name, at, *_), *_ in told:
            addresses[first : last + 1] = [((name or b"").decode() or host, at)] * (last + 1 - first)
        return addresses


def _parsed(url: str) -> tuple[list[Address], dict[str, Any]]:
    """All servers that are named, and options of their connections."""
    split = urlsplit(url)
    user, at, hosts = split.netloc.rpartition("@")
    seeds: list[Address] = []
    options: dict[str, Any] = {}
    for host in hosts.split(","):
        one = split._replace(scheme=_SCHEMES[split.scheme], netloc=f"{user}{at}{host}")
        options = {**parse_url(one.geturl())}
        if options.pop("db", 0) or "host" not in options:
            raise ValueError("a cluster has hosts, and no databases")
        seeds.append((options.pop("host"), options.pop("port", 6379)))
    return seeds, options


class _Follower(Connection):
    """Connects with whichever server has a slot; where that is another one by now the command goes once more, there."""

    def __init__(self, *, cluster: Cluster, slot: int, **options: Any) -> None:
        super().__init__(**options)
        self._cluster, self._slot = cluster, slot

    @property
    def _address(self) -> Address:
        return self.host, int(self.port)

    async def _connect(self) -> None:
        address = self._cluster.address(self._slot)
        try:
            if address is None:
                raise RedisConnectionError(f"no server of the cluster has slot {self._slot}")
            self.host, self.port = address
            await super()._connect()  # type: ignore[no-untyped-call]
        except Exception:
            await self._look_for_another()
            raise

    async def connect(self) -> None:
        if self._cluster.address(self._slot) not in (None, self._address):  # others were told that it moved
            await self.disconnect()
        await super().connect()  # type: ignore[no-untyped-call]

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        try:
            await super().on_connect_check_health(check_health)
            await self.send_command("INFO", "server", check_health=False)
            lines = (await self.read_response()).decode().split("\r\n")
        except RedisError:  # as of a server that hangs, and takes connections all the same
            await self._look_for_another()
            raise
        self._cluster.met(self._address, next(line[7:] for line in lines if line.startswith("run_id:")))

    async def read_response(self, *arguments: Any, **named: Any) -> Any:
        try:
            return await super().read_response(*arguments, **named)
        except (MovedError, ReadOnlyError, ClusterDownError) as error:
            await self.disconnect(nowait=True)
            await self._look_for_another()
            raise RedisConnectionError(f"another server has the slot: {error}") from error

    async def _look_for_another(self) -> None:
        if self._cluster.address(self._slot) in (None, self._address):  # nobody has looked since
            await self._cluster.ask_who_has_what()


class _TlsFollower(_Follower, SSLConnection):
    """The same with TLS."""
