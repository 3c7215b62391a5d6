"""What a request costs a service process and Redis: processor time a request, held and read anew.

    python -m benchmarks.scale --only service_times

One connection, so that each request has a look at the log of changes of its own, then 16, which share looks. Read anew:
the log says before each request that all changed, so that view, vectors and timelines come from Redis.
"""

import asyncio
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from redis import Redis
from scipy.optimize import nnls

from benchmarks.floors import PARTS
from benchmarks.load import head_of, load, request_bytes
from benchmarks.results import Result, Section, result, table
from benchmarks.scale.cpu import cpu_seconds, pid_of, quiet_rounds
from benchmarks.site import DIM, Group, Site, made_site
from contract.embedded import redis_server

COMMAND = "python -m benchmarks.scale --only service_times"
HELD = Group("held", readers=200, followees=6, authors=300, tweets=167)
FEW = Group("few", readers=200, followees=6, authors=300, tweets=17)
COLD = [
    Group("c1x10", 20, followees=1, authors=40, tweets=10),
    Group("c6x10", 20, followees=6, authors=300, tweets=10),
    Group("c6x167", 20, followees=6, authors=300, tweets=167),
    Group("c30x200", 20, followees=30, authors=60, tweets=200),
    Group("c60x10", 20, followees=60, authors=200, tweets=10),
    Group("c600x3", 10, followees=600, authors=700, tweets=3),
    Group("c3000x1", 5, followees=3_000, authors=3_100, tweets=1),
]
"""Followees, entries of their timelines and candidates (2,000 at most), each many where the others are few."""
MOST_CANDIDATES = 2_000
QUANTILES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Not the slowest thousandth: a few requests, which tell more of that minute than of the service."""
SHARED = 16
_SECONDS = 1.0
_ROUNDS = 3
_ASKED = 60


@dataclass(frozen=True)
class Cost:
    """Of a request: seconds of the service's, of Redis' and of the client's processor, looks; how long each took."""

    service: float
    redis: float
    client: float
    looks: float
    seconds: list[float]


@dataclass(frozen=True)
class Point:
    """Requests that read everything anew: how many followees, entries and candidates, and what one costs."""

    followees: int
    entries: int
    candidates: int
    cost: Cost


def measure() -> Section:
    """All: under two minutes."""
    with (
        made_site([HELD, FEW, *COLD], MAX_CANDIDATES=str(MOST_CANDIDATES), HELD_MB="2000") as site,
        store_of(site) as redis,
    ):
        paths = {part: HELD.paths(part) for part in (*PARTS, "recommendations")}
        stages = {
            part: in_rounds(site, redis, asked, 1) for part, asked in {"constant": ["/constant"], **paths}.items()
        }
        shared = in_rounds(site, redis, HELD.paths(), SHARED)
        few = in_rounds(site, redis, FEW.paths(), SHARED)
        light = lightly_loaded(site, redis)
        points = [cold_point(group, site, redis) for group in COLD]
    return _section(stages, shared, few, light, points)


@contextmanager
def store_of(site: Site) -> Iterator[Redis]:
    """A client of the site's Redis."""
    with redis_server(site.stores) as (url, _), Redis.from_url(url) as redis:
        yield redis


def in_rounds(site: Site, redis: Redis, paths: list[str], connections: int) -> Cost:
    """The median of the rounds, after one that fills what is held; all their latencies."""
    asyncio.run(load(site.port, paths, connections, _SECONDS))
    rounds = quiet_rounds(
        lambda: one_round(site, redis, paths, connections), (site.process.pid, pid_of(redis)), _ROUNDS
    )
    service, store, client, looks = (
        statistics.median(getattr(one, name) for one in rounds) for name in ("service", "redis", "client", "looks")
    )
    return Cost(service, store, client, looks, [seconds for one in rounds for seconds in one.seconds])


def lightly_loaded(site: Site, redis: Redis) -> list[float]:
    """Seconds of requests of an open loop at a tenth of what a closed one reaches: hardly any waits for another."""
    pids, rate = (site.process.pid, pid_of(redis)), 0.1 * asyncio.run(load(site.port, HELD.paths(), SHARED, 1.0)).rate
    rounds = quiet_rounds(lambda: asyncio.run(load(site.port, HELD.paths(), SHARED, 3.0, rate)), pids, _ROUNDS)
    return [seconds for one in rounds for seconds in one.latencies]


def one_round(site: Site, redis: Redis, paths: list[str], connections: int) -> Cost:
    """In a closed loop."""
    pids = site.process.pid, pid_of(redis)
    looks, before, mine = looks_of(redis), [cpu_seconds(pid) for pid in pids], time.process_time()
    found = asyncio.run(load(site.port, paths, connections, _SECONDS))
    client = time.process_time() - mine
    service, store = (cpu_seconds(pid) - was for pid, was in zip(pids, before, strict=True))
    n = found.requests
    return Cost(service / n, store / n, client / n, (looks_of(redis) - looks) / n, found.latencies)


def looks_of(redis: Redis) -> int:
    """How often the log of changes was read."""
    stats = redis.info("commandstats")
    assert isinstance(stats, dict)  # noqa: S101 - typed for both clients
    return int(stats.get("cmdstat_xrange", {"calls": 0})["calls"])


def cold_point(group: Group, site: Site, redis: Redis) -> Point:
    """Requests, one after another, each after the log said that all they read changed."""
    namespace, pids = site.stores.redis_namespace, (site.process.pid, pid_of(redis))
    version = bytes(redis.get(f"{namespace}:active") or b"").decode()  # type: ignore[arg-type]  # typed for both clients
    families = "\n".join(f"{name}:*" for name in ("user", "timeline", f"v:{version}:u", f"v:{version}:t"))
    paths = [path for path in group.paths() for _ in range(_ASKED // group.readers)]
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        candidates = answered(connection, paths[0])
        before, taken = [cpu_seconds(pid) for pid in pids], []
        for path in paths:
            redis.xadd(f"{namespace}:changes", {"keys": families})
            started = time.perf_counter()
            answered(connection, path)
            taken.append(time.perf_counter() - started)
        time.sleep(0.005)  # what is counted is counted when they sleep
        service, store = ((cpu_seconds(pid) - was) / len(paths) for pid, was in zip(pids, before, strict=True))
    entries = min(group.followees * group.tweets, max(3 * MOST_CANDIDATES, 5 * group.followees))
    return Point(group.followees, entries, candidates, Cost(service, store, 0.0, 1.0, taken))


def answered(connection: socket.socket, path: str) -> int:
    """Ask and wait for the whole answer: how many candidates it ranked."""
    connection.sendall(request_bytes(path))
    received = b""
    while head_of(received) is None:
        received += connection.recv(65_536)
    if b" 200 " not in received[:20]:
        raise RuntimeError(received.decode(errors="replace"))
    return int(received.partition(b'"candidates":')[2].partition(b",")[0])


def fitted(points: Sequence[Point], seconds: Sequence[float]) -> list[float]:
    """Seconds of a request, a followee, an entry and a candidate: least squares of the relative error, none below 0."""
    sizes = np.array([[1, one.followees, one.entries, one.candidates] for one in points], dtype=float)
    parts, _ = nnls(sizes / np.array(seconds)[:, None], np.ones(len(points)))
    return [float(part) for part in parts]


def spread(points: Sequence[Sequence[float]]) -> list[float]:
    """Quantiles of how many times its kind's mean a request took."""
    times = np.concatenate([np.array(seconds) / np.mean(seconds) for seconds in points])
    return [float(np.quantile(times, q)) for q in QUANTILES]


def _section(stages: dict[str, Cost], shared: Cost, few: Cost, light: list[float], points: list[Point]) -> Section:
    alone = stages["recommendations"]
    service, store = (fitted(points, [getattr(one.cost, name) for one in points]) for name in ("service", "redis"))
    told = ["a request", "a followee", "an entry of a timeline", "a candidate"]
    text = "\n\n".join(
        [
            f"d = {DIM}, processor time of the service and of Redis, one connection, {HELD.followees} followees and "
            f"{HELD.followees * HELD.tweets:,} candidates, all held, by routes that do a part of it:",
            table(
                ["Up to", "Service, µs", "Redis, µs"],
                [[name, f"{1e6 * one.service:,.0f}", f"{1e6 * one.redis:,.0f}"] for name, one in stages.items()],
            ),
            "Everything read anew from Redis:",
            table(
                ["Followees", "Entries", "Candidates", "Service, ms", "Fitted", "Redis, ms", "Fitted", "p50, ms"],
                [_point(one, service, store) for one in points],
            ),
        ]
    )
    rows = [
        _row("held, 1 connection, service", alone.service),
        _row("held, 1 connection, Redis", alone.redis),
        _row("held, 1 connection, client", alone.client),
        _row("held, 16 connections, service", shared.service),
        result("held, candidates", HELD.followees * HELD.tweets, "candidates", "", COMMAND, None),
        result("held few, candidates", FEW.followees * FEW.tweets, "candidates", "", COMMAND, None),
        _row("held few, 16 connections, service", few.service),
        _row("held, 16 connections, Redis", shared.redis),
        _row("held, 16 connections, client", shared.client),
        result("held, 16 connections, looks", shared.looks, "a request", "", COMMAND, None),
        _row("read, service", stages["read"].service),
        _row("look, service", stages["looked"].service - stages["read"].service),
        _row("look, Redis", stages["looked"].redis),
        *(_row(f"read anew, {what}, service", part) for what, part in zip(told, service, strict=True)),
        *(_row(f"read anew, {what}, Redis", part) for what, part in zip(told, store, strict=True)),
        *_spread("held", [light]),
        *_spread("read anew", [one.cost.seconds for one in points]),
    ]
    return Section("What a request costs", text, rows)


def _point(one: Point, service: list[float], store: list[float]) -> list[str]:
    sizes = [1, one.followees, one.entries, one.candidates]
    pairs = ((one.cost.service, service), (one.cost.redis, store))
    both = [f"{1e3 * ms:.2f}" for measured, parts in pairs for ms in (measured, float(np.dot(sizes, parts)))]
    return [*(f"{size:,}" for size in sizes[1:]), *both, f"{1e3 * statistics.median(one.cost.seconds):.2f}"]


def _row(name: str, seconds: float) -> Result:
    return result(name, 1e6 * seconds, "µs of a core", "", COMMAND, None)


def _spread(name: str, points: Sequence[Sequence[float]]) -> Iterator[Result]:
    for q, times in zip(QUANTILES, spread(points), strict=True):
        yield result(f"{name}, quantile {q:g}", times, "times the mean", "", COMMAND, None)
