"""A fault under load, and what came of it."""

import asyncio
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import make_url

from contract.environment import StoreSettings
from contract.progress import silent
from tests.chaos.check import Verdict, check, settled
from tests.chaos.faults import Fault
from tests.chaos.load import Ledger, Load
from tests.chaos.site import Service, Site, Valkey, running
from tests.conftest import trained_stores, valkey_servers
from tests.databases import owned_by_a_user
from tests.integration.running import png
from tests.proxy import Proxy, proxy_to
from training.synthesize import SynthesisSettings, synthesize

WRITERS, READERS = 3, 2
HEAL_SECONDS = 120.0
ENDED = {signal.SIGKILL: "service killed (SIGKILL)", signal.SIGTERM: "service told to end (SIGTERM)"}
PAIR = "one of two services killed (SIGKILL)"
KINDS = {"sqlite": "embedded", "postgres": "servers"}


@dataclass(frozen=True)
class Row:
    """Of the table: one fault on one database, so many times."""

    fault: str
    database: str
    runs: int
    acknowledged: int
    lost: int
    duplicated: int
    reads_answered: float
    heal_seconds: float
    slowest_read_seconds: float
    degraded: float
    wrong: list[str]


def shortcomings(row: Row) -> list[str]:
    """What is not as it must be, however long the form."""
    return [
        *row.wrong,
        *([f"{row.lost} lost, {row.duplicated} twice"] if row.lost or row.duplicated else []),
        *([] if row.acknowledged else ["no write was acknowledged: nothing was tried"]),
        *([] if row.heal_seconds < HEAL_SECONDS else [f"healed after {row.heal_seconds:.1f} s"]),
    ]


@contextmanager
def trained(databases: list[str]) -> Iterator[dict[str, StoreSettings]]:
    """Stores with a small trained model, which sites are copies of."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "network"
        synthesize(folder, SynthesisSettings(users=60, tweets=80), silent)
        yield {name: stack.enter_context(trained_stores(KINDS[name], folder)) for name in databases}


@asynccontextmanager
async def plain_site(stores: StoreSettings) -> AsyncIterator[Site]:
    """Without proxies: SQLite with the embedded Redis, which the service starts, or PostgreSQL with a Redis server."""
    for embedded in valkey_servers(stores.var_dir):
        embedded.terminate()
        embedded.wait(10)
    service = Service(stores, stores.var_dir / "service.log", stores.var_dir)
    async with running(service):
        yield Site(service, stores)


@asynccontextmanager
async def proxied_site(direct: StoreSettings, server: Valkey) -> AsyncIterator[Site]:
    """Redis is a server of this site's own; it and the database are behind proxies."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(proxy_to(("127.0.0.1", server.port)))
        through = {"redis_url": f"redis://127.0.0.1:{redis.port}/0"}
        database = None
        if direct.database_url is not None:
            database, through["database_url"] = await stack.enter_async_context(proxied_database(direct.database_url))
        seen = direct.model_copy(update=through)
        service = Service(seen, direct.var_dir / "service.log", direct.var_dir)
        site = Site(service, direct, server, redis, database)
        stack.callback(site.kill_valkey)
        await stack.enter_async_context(running(service))
        yield site


@asynccontextmanager
async def proxied_database(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before PostgreSQL, and its URL for one who is no superuser."""
    place = make_url(url)
    with owned_by_a_user(url) as role:
        async with proxy_to((place.host or "127.0.0.1", place.port or 5432)) as proxy:
            through = place.set(host="127.0.0.1", port=proxy.port, username=role, password=role)
            yield proxy, through.render_as_string(hide_password=False)


async def run_fault(fault: Fault, database: str, site: Site, runs: int) -> Row:
    """Strike, heal, and count; so many times."""
    ledger, heal = Ledger(), 0.0
    for n in range(runs):
        load = Load(site.service.url, ledger, f"{fault.strike.__name__}-{n}")
        load.start(WRITERS, READERS)
        await asyncio.sleep(0.7)
        ledger.at_fault = True
        async with fault.strike(site):
            await asyncio.sleep(fault.seconds)
            ended = time.monotonic()
        if not await healed(site, load.name):
            ledger.wrong.append(f"not healed within {HEAL_SECONDS:g} s")
        heal = max(heal, time.monotonic() - ended)
        ledger.at_fault = False
        await asyncio.sleep(0.5)
        await load.stop()
    return await row(fault.name, database, runs, ledger, site, heal)


async def healed(site: Site, name: str) -> bool:
    """Wait until the service has all its stores, answers in full, and takes and encodes tweets; whether it does."""
    started = time.monotonic()
    async with httpx.AsyncClient(base_url=site.service.url, timeout=40) as client:
        while not await is_well(client, name):
            if time.monotonic() - started > HEAL_SECONDS:
                return False
            await asyncio.sleep(0.02)
    return True


async def is_well(client: httpx.AsyncClient, name: str) -> bool:
    ready = (await client.get("/health/ready")).json()
    if (ready["redis"], ready["database"]) != ("ok", "ok"):
        return False
    answer = await client.get("/users/u0001/recommendations")
    if answer.status_code != 200 or answer.json()["degraded"]:
        return False
    form, headers = {"author_id": "u0002", "text": f"All is well. {name}"}, {"Idempotency-Key": name}
    posted = await client.post("/tweets", data=form, files={"image": png("gold")}, headers=headers)
    return posted.status_code == 201


async def run_ends(database: str, site: Site, number: signal.Signals, times: int, seed: int) -> Row:
    """SIGKILL, or SIGTERM, at random moments; the service is started again at once.

    Told by SIGTERM it fails no request of a balancer that asks ten times a second whether it is ready.
    """
    moments = random.Random(seed)
    ledger = Ledger(at_fault=True)
    load = Load(site.service.url, ledger, number.name)
    load.start(WRITERS, READERS, balanced=number == signal.SIGTERM)
    heal = 0.0
    for _ in range(times):
        await asyncio.sleep(moments.uniform(0.1, 1.2))
        await site.service.end(number)
        site.service.start()
        heal = max(heal, await site.service.ready())
    await asyncio.sleep(0.5)
    await load.stop()
    if number == signal.SIGTERM and (ledger.broken or ledger.reads["failed"] or ledger.writes["failed"]):
        ledger.wrong.append(f"requests failed: {ledger.reads}, {ledger.writes}, {ledger.broken[:3]}")
    return await row(ENDED[number], database, times, ledger, site, heal)


async def run_pair(database: str, stores: StoreSettings, server: Valkey, times: int, seed: int) -> Row:
    """One of two services on the same stores is killed at random moments, and the other one mends what it left."""
    moments = random.Random(seed)
    ledger = Ledger(at_fault=True)
    killed, other = (Service(stores, stores.var_dir / f"{name}.log", stores.var_dir / name) for name in "ab")
    async with running(killed), running(other):
        loads = [Load(service.url, ledger, f"pair-{number}") for number, service in enumerate((killed, other))]
        for load in loads:
            load.start(WRITERS - 1, READERS - 1)
        heal = 0.0
        for _ in range(times):
            await asyncio.sleep(moments.uniform(0.1, 1.2))
            await killed.end(signal.SIGKILL)
            await asyncio.sleep(moments.uniform(0.5, 2.0))
            killed.start()
            heal = max(heal, await killed.ready())
        await asyncio.sleep(0.5)
        for load in loads:
            await load.stop()
        return await row(PAIR, database, times, ledger, Site(other, stores, server), heal)


async def row(fault: str, database: str, runs: int, ledger: Ledger, site: Site, heal: float) -> Row:
    """Judge a run once all is settled."""
    direct = site.direct if site.valkey is None else site.direct.model_copy(update={"redis_url": site.valkey.url})
    ledger.wrong += await settled(direct)
    verdict: Verdict = await check(ledger, direct, site.service.url)
    asked = sum(ledger.reads[outcome] for outcome in ("answered", "refused", "failed"))
    return Row(
        fault=fault,
        database=database,
        runs=runs,
        acknowledged=ledger.acknowledged,
        lost=verdict.lost,
        duplicated=verdict.duplicated,
        reads_answered=ledger.reads["answered"] / max(1, asked),
        heal_seconds=heal,
        slowest_read_seconds=ledger.slowest_read,
        degraded=ledger.reads["degraded"] / max(1, ledger.reads["answered"]),
        wrong=verdict.wrong,
    )
