"""What is stored of a user and a tweet, in Redis by family of keys and in PostgreSQL, and what a core of Redis does.

    python -m benchmarks.scale --only storage

A Valkey of its own without a file, and a database of its own at TEST_DATABASE_URL; ids of 19 digits, d = 400.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import numpy as np
from redis.asyncio import Redis as AsyncRedis

from benchmarks.redis_memory import own_server, used_bytes
from benchmarks.results import Result, Section, result
from benchmarks.scale.cpu import cpu_seconds
from benchmarks.scale.sql_storage import in_sql
from benchmarks.site import DIM
from contract.changelog import ChangeLog
from contract.embedded import open_redis
from contract.graph import TIMELINE_LIMIT, OnlineGraph, TimelineEntry, UserState
from contract.vectors import VectorStore

COMMAND = "python -m benchmarks.scale --only storage"
POSTGRES = os.environ.get("TEST_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/test")
NAMESPACE, VERSION = "imagetweets", "20260401T120000Z-0123456789ab"
TIMELINES = (1, 10, 100, TIMELINE_LIMIT)
FOLLOWS = (1, 6, 100, 1_000)
SEEN = (1, 9, 100, 1_000)
_FIRST = 1_234_567_890_000_000_000
_KEYS = 2_000
_TIMES = 300
_CHANGES, _READS = 1_000, 9
_NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
_NOW_MS = int(_NOW.timestamp() * 1_000)


def measure() -> Section:
    """All: a minute."""
    with own_server() as url:
        rows = asyncio.run(in_redis(url))
    return Section(
        "What is stored, and what a core of Redis does",
        f"Valkey and PostgreSQL, d = {DIM}, fp16, ids of 19 digits. Bytes are Redis' own account and PostgreSQL's "
        "`pg_total_relation_size`, indexes included. Commands are of one client; microseconds are Redis' own processor "
        "time, its network included.",
        [*rows, *(_row(f"SQL, a row of {name}", size, "bytes") for name, size in in_sql(POSTGRES))],
    )


async def in_redis(url: str) -> list[Result]:
    """Bytes, then commands."""
    async with open_redis(url, patience_seconds=30) as redis:
        graph, vectors = OnlineGraph(redis, NAMESPACE), VectorStore(redis, NAMESPACE)
        return [*await sizes(redis, graph), *await commands(redis, graph, vectors)]


async def sizes(redis: AsyncRedis, graph: OnlineGraph) -> list[Result]:
    """Bytes of a key by what is in it: a value's own size grows in steps, so that it is measured at several."""
    rows = [_row("user known", await bytes_a_key(redis, graph, lambda _: UserState("", [], {}, {}, [])), "bytes")]
    known = rows[0].value

    async def more(name: str, n: int, state: Callable[[int], UserState]) -> None:
        rows.append(_row(f"{name}, {n:,}", await bytes_a_key(redis, graph, state) - known, "bytes"))

    for n in FOLLOWS:
        await more("follows", n, lambda user, n=n: UserState("", ids(user, n), {}, {}, []))  # type: ignore[misc]
    for n in SEEN:
        await more("seen", n, lambda user, n=n: UserState("", [], dict.fromkeys(ids(user, n), _NOW_MS), {}, []))  # type: ignore[misc]
    for n in TIMELINES:
        await more("timeline", n, lambda user, n=n: UserState("", [], {}, {}, entries(user, n)))  # type: ignore[misc]
    return rows


async def bytes_a_key(redis: AsyncRedis, graph: OnlineGraph, state: Callable[[int], UserState]) -> float:
    """Of as many users of one kind, the tables of keys included; they are gone afterwards."""
    await flushed(redis)
    await redis.xadd(f"{NAMESPACE}:changes", {"keys": "*"})
    await redis.xtrim(f"{NAMESPACE}:changes", maxlen=0)
    before = await used_bytes(redis)
    for user in range(_KEYS):
        made = state(user)
        await graph.replace_users([UserState(str(_FIRST + user), *_rest(made))])
    await redis.xtrim(f"{NAMESPACE}:changes", maxlen=0, approximate=False)
    return (await used_bytes(redis) - before) / _KEYS


async def flushed(redis: AsyncRedis) -> None:
    """At once: by itself it gives memory back later."""
    await redis.execute_command("FLUSHALL", "SYNC")  # type: ignore[no-untyped-call]


def _rest(state: UserState) -> tuple[list[str], dict[str, int], dict[str, int], list[TimelineEntry]]:
    return state.followee_ids, state.seen, state.hidden, state.timeline


def ids(user: int, n: int) -> list[str]:
    """Others' ids."""
    return [str(_FIRST + (user * 7_919 + k * 104_729) % 10_000_000) for k in range(n)]


def entries(user: int, n: int) -> list[TimelineEntry]:
    """A timeline."""
    return [TimelineEntry(id_, str(_FIRST + user), _NOW_MS - k) for k, id_ in enumerate(ids(user, n))]


async def commands(redis: AsyncRedis, graph: OnlineGraph, vectors: VectorStore) -> list[Result]:
    """Microseconds of Redis and of the client by kind, and what one writer gets done."""
    pid = int((await redis.info("server"))["process_id"])
    await flushed(redis)
    stored = [str(_FIRST + n) for n in range(20_000)]
    generator = np.random.default_rng(0)
    z_KD = generator.uniform(-1.7, 1.7, (len(stored), DIM)).astype(np.float16)
    put = await cost(pid, 1, lambda _: vectors.put_tweets(VERSION, stored, z_KD))
    made = [
        UserState(id_, ids(n, 6), dict.fromkeys(ids(n, 9), _NOW_MS), {}, entries(n, 10))
        for n, id_ in enumerate(stored[:5_000])
    ]
    users = await cost(pid, 1, lambda _: graph.replace_users(made))
    full = [UserState(id_, [], {}, {}, entries(n, TIMELINE_LIMIT)) for n, id_ in enumerate(stored[5_000:5_500])]
    await graph.replace_users(full)
    log, quiet = ChangeLog(redis, NAMESPACE), ChangeLog(redis, NAMESPACE)
    await log.changed()
    await quiet.changed()
    some = [generator.choice(stored, 1_000, replace=False).tolist() for _ in range(_TIMES)]
    found = {
        "MGET of 1 vector": await cost(pid, _TIMES, lambda n: vectors.tweets(VERSION, some[n][:1], DIM)),
        "MGET of 1,000 vectors": await cost(pid, _TIMES, lambda n: vectors.tweets(VERSION, some[n], DIM)),
        "ZREVRANGE of 10 entries": await cost(pid, _TIMES, lambda n: graph.timelines(stored[n * 10 : n * 10 + 1], 10)),
        "ZREVRANGE of 200 entries": await cost(pid, _TIMES, lambda n: graph.timelines(stored[5_000 + n : 5_001 + n])),
        "a look, nothing changed": await cost(pid, _TIMES, lambda _: quiet.changed()),
    }
    read = await median_of_reads(pid, redis, log)
    inbox = await cost(pid, 1, lambda _: push(redis, stored))
    await log.aclose()
    await quiet.aclose()
    return [
        *(_row(f"{name}, Redis", server, "µs of a core") for name, (server, _, _) in found.items()),
        *(_row(f"{name}, client", client, "µs of a core") for name, (_, client, _) in found.items()),
        *await by_connections(pid, vectors, some),
        _row("a change that a look tells, client", read[1] / _CHANGES, "µs of a core"),
        _row("a change that a look tells, Redis", read[0] / _CHANGES, "µs of a core"),
        _row("a push to an inbox of 1,000, Redis", inbox[0] / len(stored), "µs of a core"),
        _row("a push to an inbox of 1,000, client", inbox[1] / len(stored), "µs of a core"),
        _row("vectors written by one writer", len(stored) / put[2] * 1e6, "1/s"),
        _row("a vector written, Redis", put[0] / len(stored), "µs of a core"),
        _row("users put online by one writer, Redis alone", len(made) / users[2] * 1e6, "1/s"),
        _row("a user put online, Redis", users[0] / len(made), "µs of a core"),
    ]


async def median_of_reads(pid: int, redis: AsyncRedis, log: ChangeLog) -> tuple[float, float]:
    """Of a look that tells _CHANGES changes, microseconds: Redis' processor, and this process' one."""
    found = []
    for _ in range(_READS):
        for n in range(_CHANGES):
            await redis.xadd(f"{NAMESPACE}:changes", {"keys": f"timeline:{_FIRST + n}"})
        found.append(await cost(pid, 1, lambda _: log.changed()))
    return statistics.median(one[0] for one in found), statistics.median(one[1] for one in found)


async def push(redis: AsyncRedis, followers: Sequence[str]) -> None:
    """A tweet's id into its author's followers' inboxes, which keep the newest 1,000 (here: hold 20)."""
    for start in range(0, len(followers), 500):
        pipeline = redis.pipeline(transaction=False)
        for follower in followers[start : start + 500]:
            key = f"{NAMESPACE}:inbox:{follower}"
            pipeline.zadd(key, {f"{_FIRST}/{_FIRST}": _NOW_MS})
            pipeline.zremrangebyrank(key, 0, -1_001)
        await pipeline.execute()


async def by_connections(pid: int, vectors: VectorStore, some: list[list[str]]) -> list[Result]:
    """What one more command at the same time costs, as to one more shard: 960 vectors by 1 and by 64 connections."""

    async def parts(n: int, into: int) -> None:
        size = 960 // into
        await asyncio.gather(*(vectors.tweets(VERSION, some[n][k * size : (k + 1) * size], DIM) for k in range(into)))

    few, many = [await cost(pid, 100, lambda n, into=into: parts(n, into)) for into in (1, 64)]  # type: ignore[misc]
    return [_row("one more command of a fan-out, client", (many[1] - few[1]) / 63, "µs of a core")]


async def cost(pid: int, times: int, call: Callable[[int], Awaitable[object]]) -> tuple[float, float, float]:
    """Of a call, microseconds: Redis' processor, this process' one, and how long it took."""
    if times > 1:
        await call(0)
    before, mine, started = cpu_seconds(pid), time.process_time(), time.perf_counter()
    for n in range(times):
        await call(n)
    took, mine = time.perf_counter() - started, time.process_time() - mine
    await asyncio.sleep(0.01)  # what is counted is counted when it sleeps
    return 1e6 * (cpu_seconds(pid) - before) / times, 1e6 * mine / times, 1e6 * took / times


def _row(name: str, value: float, unit: str) -> Result:
    return result(name, value, unit, "", COMMAND, None)
