"""What can befall a service, each for as long as its block takes."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import psutil
from sqlalchemy import make_url

from tests.chaos.site import Site, Valkey
from tests.conftest import wait_until
from tests.databases import Administered

SLOW_SECONDS = 0.05
BEHIND_SECONDS = 0.5
FULL_BYTES = 1_000

Strike = Callable[[Site], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """`strike` is the fault itself."""

    name: str
    strike: Strike
    databases: tuple[str, ...] = ("sqlite", "postgres")
    seconds: float = 3.0
    """How long it lasts; 0: it is a moment."""
    short: bool = True
    """Whether it belongs to the short form."""


@asynccontextmanager
async def redis_killed(site: Site) -> AsyncIterator[None]:
    """kill -9, and a start on what is on its disk."""
    server = _valkey(site)
    server.kill()
    yield
    await asyncio.to_thread(server.start)


@asynccontextmanager
async def redis_hung(site: Site) -> AsyncIterator[None]:
    """It takes connections and answers nothing."""
    _valkey(site).signal(signal.SIGSTOP)
    yield
    _valkey(site).signal(signal.SIGCONT)


@asynccontextmanager
async def redis_slow(site: Site) -> AsyncIterator[None]:
    assert site.redis is not None
    site.redis.delay_seconds = SLOW_SECONDS
    yield
    site.redis.heal()


@asynccontextmanager
async def redis_reset(site: Site) -> AsyncIterator[None]:
    """All its connections, ten times a second."""
    proxy = site.redis
    assert proxy is not None

    async def resets() -> None:
        while True:
            proxy.reset()
            await asyncio.sleep(0.1)

    task = asyncio.create_task(resets())
    yield
    task.cancel()


@asynccontextmanager
async def redis_full(site: Site) -> AsyncIterator[None]:
    """It is read, and takes nothing more."""
    with _valkey(site).client() as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@asynccontextmanager
async def redis_emptied(site: Site) -> AsyncIterator[None]:
    with _valkey(site).client() as client:
        client.flushall()
    yield


@asynccontextmanager
async def redis_failed_over(site: Site) -> AsyncIterator[None]:
    """To a replica that is half a second behind: what was acknowledged then is not there."""
    primary = _valkey(site)
    replica = Valkey(primary.folder.with_name(f"{primary.folder.name}-replica"))
    replica.start("--replicaof", f"127.0.0.1 {primary.port}")
    with replica.client() as client:
        await asyncio.to_thread(wait_until, lambda: client.info("replication")["master_link_status"] == "up", 20)
        client.replicaof("NO", "ONE")
    await asyncio.sleep(BEHIND_SECONDS)
    primary.kill()
    site.valkey = replica
    assert site.redis is not None
    site.redis.lead_to(("127.0.0.1", replica.port))
    yield


@asynccontextmanager
async def database_cut_off(site: Site) -> AsyncIterator[None]:
    assert site.database is not None
    site.database.cut()
    yield
    site.database.heal()


@asynccontextmanager
async def database_hung(site: Site) -> AsyncIterator[None]:
    """It takes connections and answers nothing."""
    assert site.database is not None
    site.database.stall()
    yield
    site.database.heal()


@asynccontextmanager
async def database_slow(site: Site) -> AsyncIterator[None]:
    assert site.database is not None
    site.database.delay_seconds = SLOW_SECONDS
    yield
    site.database.heal()


@asynccontextmanager
async def database_read_only(site: Site) -> AsyncIterator[None]:
    with Administered(site.direct.database_url or "").read_only():
        yield


@asynccontextmanager
async def database_full_up(site: Site) -> AsyncIterator[None]:
    """It takes no connection more."""
    with Administered(site.direct.database_url or "").full_up():
        yield


@asynccontextmanager
async def database_locked(site: Site) -> AsyncIterator[None]:
    """Another process writes to the file all the time."""
    file = make_url(site.direct.sqlalchemy_url).database
    other = sqlite3.connect(str(file), isolation_level=None, timeout=30, check_same_thread=False)
    await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@asynccontextmanager
async def disk_full(site: Site) -> AsyncIterator[None]:
    """The service's process can write to no file any more, pictures' or SQLite's."""
    assert site.service.process is not None
    process = psutil.Process(site.service.process.pid)
    before, most = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (FULL_BYTES, most))
    yield
    process.rlimit(psutil.RLIMIT_FSIZE, (before, most))


@asynccontextmanager
async def encoder_throws(site: Site) -> AsyncIterator[None]:
    """As where the GPU is lost."""
    (site.service.faults / "throws").touch()
    yield
    (site.service.faults / "throws").unlink()


@asynccontextmanager
async def encoder_hangs(site: Site) -> AsyncIterator[None]:
    (site.service.faults / "hangs").touch()
    yield
    (site.service.faults / "hangs").unlink()


def _valkey(site: Site) -> Valkey:
    assert site.valkey is not None
    return site.valkey


FAULTS = [
    Fault("Redis killed (kill -9), started again", redis_killed),
    Fault("Redis hangs", redis_hung),
    Fault("Redis slow (50 ms each way)", redis_slow, short=False),
    Fault("Redis connections reset ten times a second", redis_reset, short=False),
    Fault("Redis full (maxmemory)", redis_full),
    Fault("Redis emptied (FLUSHALL)", redis_emptied, seconds=0),
    Fault("Redis failed over to a replica half a second behind", redis_failed_over, seconds=0),
    Fault("database cut off", database_cut_off, ("postgres",)),
    Fault("database hangs", database_hung, ("postgres",)),
    Fault("database slow (50 ms each way)", database_slow, ("postgres",), short=False),
    Fault("database read-only", database_read_only, ("postgres",), short=False),
    Fault("database takes no connections", database_full_up, ("postgres",), short=False),
    Fault("database locked by another process", database_locked, ("sqlite",)),
    Fault("disk full", disk_full),
    Fault("encoder throws", encoder_throws),
    Fault("encoder hangs", encoder_hangs, seconds=12),
]
