"""A Redis Cluster of six nodes beside one server: reads, writes, looks at the log of changes, memory, and WAIT.

    python -m benchmarks.scale --only redis_cluster

All on this machine, in one run: what is told are ratios.
"""

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster as LibraryCluster

from benchmarks.load import Load, Post, load
from benchmarks.peer_processes import redis_on_a_port
from benchmarks.read_path import quantile_ms
from benchmarks.results import Result, Section, result
from benchmarks.site import Group, Site, empty, fill, serving, train
from contract.changelog import ChangeLog
from contract.embedded import open_store
from contract.environment import StoreSettings
from contract.graph import OnlineGraph
from contract.keyspace import Keyspace, RedisStore
from contract.progress import silent
from tests.redis_cluster import RedisCluster, redis_cluster
from training.retrain import publish_folder

COMMAND = "python -m benchmarks.scale --only redis_cluster"
PARTS = (1, 16, 64)
ROUNDS = 3
SECONDS = 1.5
CONNECTIONS = 16
LOOKS = 500
WRITES = 500
GROUP = Group("base", readers=200, followees=6, authors=300, tweets=50)
PLAIN = "one server"


@dataclass(frozen=True)
class Work:
    """What one kind of Redis came to in all rounds."""

    reads: list[Load]
    in_time: list[Load]
    """At the same rate for all: half of what one server does."""
    writes: list[Load]


def measure() -> Section:
    """All of it: some three minutes."""
    with tempfile.TemporaryDirectory(prefix="itr") as folder, redis_on_a_port() as port, redis_cluster() as cluster:
        stores = made_stores(Path(folder), f"redis://127.0.0.1:{port}/0", cluster)
        version = train(Path(folder) / "network", stores[PLAIN], "tiny")
        for kind, settings in stores.items():
            if kind != PLAIN:
                publish_folder(settings.models_dir / version, settings, silent)
            asyncio.run(fill([GROUP], version, settings))
        with served(stores) as sites:
            work = asyncio.run(rounds(sites))
        looks = {kind: asyncio.run(opened(settings, seconds_of_looks)) for kind, settings in stores.items()}
        size = {kind: asyncio.run(opened(settings, bytes_of_readers)) for kind, settings in stores.items()}
        waiting, ours, library = asyncio.run(opened(stores[of(16)], seconds_of_writes))
        for settings in stores.values():
            asyncio.run(empty(settings))
    return Section("Redis Cluster", text(), rows(work, looks, size, waiting, ours, library))


def of(parts: int) -> str:
    """What a cluster with so many parts is called."""
    return f"cluster, {parts} part{'s' if parts > 1 else ''}"


def made_stores(folder: Path, url: str, cluster: RedisCluster) -> dict[str, StoreSettings]:
    """The same database and models, on one server and on the cluster."""
    plain = StoreSettings(
        var_dir=folder / "var", models_dir=folder / "models", database_url=None, redis_url=url, redis_namespace="bench"
    )
    on_cluster = {
        of(parts): plain.model_copy(
            update={"redis_url": cluster.url, "redis_parts": parts, "redis_namespace": f"bench-{parts}"}
        )
        for parts in PARTS
    }
    return {PLAIN: plain, **on_cluster}


@contextmanager
def served(stores: dict[str, StoreSettings]) -> Iterator[dict[str, Site]]:
    """A service process on each."""
    with ExitStack() as stack:
        yield {
            kind: stack.enter_context(
                serving(settings, {"REDIS_URL": settings.redis_url or "", "REDIS_PARTS": str(settings.redis_parts)})
            )
            for kind, settings in stores.items()
        }


async def rounds(sites: dict[str, Site]) -> dict[str, Work]:
    """One kind after the other, several times."""
    work = {kind: Work([], [], []) for kind in sites}
    asked = GROUP.paths()
    known = [Post("/users", b'{"user_id": "u0001"}')]
    for site in sites.values():
        await load(site.port, asked, CONNECTIONS, SECONDS)
    rate = (await load(sites[PLAIN].port, asked, CONNECTIONS, SECONDS)).rate / 2
    for _ in range(ROUNDS):
        for kind, site in sites.items():
            work[kind].reads.append(await load(site.port, asked, CONNECTIONS, SECONDS))
            work[kind].in_time.append(await load(site.port, asked, CONNECTIONS, SECONDS, rate))
            work[kind].writes.append(await load(site.port, known, 1, SECONDS))
    return work


async def opened(settings: StoreSettings, ask: Callable[[RedisStore, str], Awaitable[list[float]]]) -> list[float]:
    """Ask something of what is in Redis."""
    async with open_store(settings.redis_url or "", settings) as redis:
        return await ask(redis, settings.redis_namespace)


async def seconds_of_looks(redis: RedisStore, namespace: str) -> list[float]:
    """Of each look at the log of changes, when nothing changed."""
    async with contextlib.aclosing(ChangeLog(redis, namespace)) as log:
        await log.changed()
        return [await _seconds(log.changed()) for _ in range(LOOKS)]


async def bytes_of_readers(redis: RedisStore, namespace: str) -> list[float]:
    """Of all keys of each reader, as MEMORY USAGE tells."""
    keys = Keyspace(redis, namespace)
    found = []
    for n in range(20):
        part = keys.of(GROUP.reader(n))
        of_reader = [key async for key in part.redis.scan_iter(f"{_escaped(part.prefix)}:*:{GROUP.reader(n)}")]
        found.append(float(sum([await part.redis.memory_usage(key) or 0 for key in of_reader])))
    return found


def _escaped(prefix: str) -> str:
    return prefix.replace("[", r"\[")


async def seconds_of_writes(redis: RedisStore, namespace: str) -> list[float]:
    """Medians: of WAIT for a replica beside the write alone, of a change of the graph, and of redis-py's MULTI."""
    keys, graph = Keyspace(redis, namespace), OnlineGraph(redis, namespace)
    part = keys.of("u0001")
    probe = part.key("probe")
    alone: list[float] = []
    waited: list[float] = []
    async with part.redis.client() as connection:
        for n in range(WRITES):
            alone.append(await _seconds(connection.set(probe, n)))
            waited.append(await _seconds(_set_and_wait(connection, probe, n)))
        await connection.unlink(probe)
    ours = [await _seconds(graph.add_follows([("u0001", "u0002")])) for _ in range(WRITES)]
    host, port = part.address or ("", 0)
    async with LibraryCluster(host=host, port=port) as library:
        theirs = [await _seconds(_the_same_by(library, part.prefix)) for _ in range(WRITES // 5)]
    return [statistics.median(waited) - statistics.median(alone), statistics.median(ours), statistics.median(theirs)]


async def _set_and_wait(connection: Redis, key: str, value: int) -> None:
    await connection.set(key, value)
    if await connection.wait(1, 100) < 1:
        raise RuntimeError("no replica has it")


async def _the_same_by(library: LibraryCluster, prefix: str) -> None:
    async with library.pipeline(transaction=True) as pipeline:
        pipeline.sadd(f"{prefix}:follow:u0001", "u0002")
        pipeline.xadd(f"{prefix}:changes", {"keys": "follow:u0001"}, maxlen=10_000, approximate=True)
        await pipeline.execute()


async def _seconds(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


def text() -> str:
    """What was done."""
    return (
        f"Three masters with a replica each beside one server, all on this machine. {GROUP.readers} readers follow "
        f"{GROUP.followees} authors with {GROUP.tweets} tweets each (d = 400); {CONNECTIONS} connections ask for "
        f"recommendations, as fast as they are answered, then at half the rate that one server came to; one connection "
        f"sends a change (`POST /users`). {ROUNDS} rounds of {SECONDS:g} s of each kind in turn, medians of ratios."
    )


def rows(
    work: dict[str, Work],
    looks: dict[str, list[float]],
    size: dict[str, list[float]],
    waiting: float,
    ours: float,
    library: float,
) -> list[Result]:
    """All beside one server."""
    found: list[Result] = []
    plain = work[PLAIN]

    def row(name: str, value: float, unit: str, against: str, goal: tuple[str, float] | None = None) -> None:
        found.append(result(name, value, unit, against, COMMAND, goal))

    for kind in work:
        if kind == PLAIN:
            continue
        reads, writes = _share(work[kind].reads, plain.reads), _share(work[kind].writes, plain.writes)
        row(f"requests/s of recommendations: {kind}", reads, "x", PLAIN, (">=", 0.5) if kind == of(16) else None)
        p99 = quantile_ms(work[kind].in_time, 0.99) / quantile_ms(plain.in_time, 0.99)
        row(f"p99 of recommendations at the same rate: {kind}", p99, "x", PLAIN)
        row(f"changes/s of one connection: {kind}", writes, "x", PLAIN)
    for kind, seconds in looks.items():
        row(f"a look at the log of changes: {kind}", 1_000 * statistics.median(seconds), "ms", "")
    for kind in (PLAIN, of(16)):
        row(f"a reader's keys: {kind}", statistics.median(size[kind]), "bytes", "")
    row("WAIT for one replica after a write", 1_000 * waiting, "ms more", f"{1_000 * ours:.2f} ms of a MULTI")
    row("the same MULTI by redis-py's cluster client", library / ours, "x", "the client that follows a slot")
    return found


def _share(some: list[Load], others: list[Load]) -> float:
    return statistics.median(a.rate / b.rate for a, b in zip(some, others, strict=True))
