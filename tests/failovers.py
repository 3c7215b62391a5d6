"""A failover of a Redis Cluster under two services that are read and written, and what it came to."""

import asyncio
import logging
import time
from dataclasses import dataclass

import httpx

from contract.environment import StoreSettings
from contract.keyspace import Keyspace
from tests.chaos.check import check, settled
from tests.chaos.load import Ledger, Load
from tests.redis_cluster import RedisCluster
from training.stores import Stores

log = logging.getLogger(__name__)

WRITERS, READERS = 2, 2
WITHIN_SECONDS = 60.0


@dataclass(frozen=True)
class FailedOver:
    """Seconds: until another master is elected, then until services say that Redis is not whole, then that it is.

    `idle`: the longest time without an acknowledged write.
    """

    elected: float
    noticed: float
    whole: float
    idle: float
    ledger: Ledger

    def __str__(self) -> str:
        ledger = self.ledger
        return (
            f"another master after {self.elected:.1f} s, noticed {self.noticed:.1f} s later, whole {self.whole:.1f} s "
            f"later; {self.idle:.1f} s without a write; slowest read {ledger.slowest_read:.1f} s; reads "
            f"{dict(ledger.reads)}, writes {dict(ledger.writes)}, {ledger.acknowledged} acknowledged in all"
        )


async def prefixes(opened: Stores) -> list[str]:
    """Of what belongs to nobody, then of the parts."""
    return [part.prefix for part in Keyspace(opened.redis, opened.namespace).parts]


def a_part_beside(home: str, parts: list[str], cluster: RedisCluster) -> str:
    """One whose master has not got what belongs to nobody."""
    return next(part for part in parts if cluster.master_of(part) is not cluster.master_of(home))


async def told_by_all(urls: list[str]) -> set[str]:
    """What /health/ready says of Redis; it is 200 all the time."""
    async with httpx.AsyncClient(timeout=10) as client:
        answers = [await client.get(f"{url}/health/ready") for url in urls]
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    return {answer.json()["redis"] for answer in answers}


async def until_told(urls: list[str], wanted: bool) -> float:
    """Wait until all say that Redis is whole, or one that it is not; how long it took."""
    began = time.monotonic()
    while (await told_by_all(urls) == {"ok"}) != wanted:
        assert time.monotonic() - began < WITHIN_SECONDS
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def longest_without_a_write(ledger: Ledger) -> float:
    """Until it is cancelled."""
    longest, last, since = 0.0, ledger.acknowledged, time.monotonic()
    try:
        while True:
            await asyncio.sleep(0.02)
            longest = max(longest, time.monotonic() - since)
            if ledger.acknowledged != last:
                last, since = ledger.acknowledged, time.monotonic()
    except asyncio.CancelledError:
        return longest


async def fail_over_under_load(
    urls: list[str], stores: StoreSettings, cluster: RedisCluster, key: str, of_nobody: bool, attempt: int = 0
) -> FailedOver:
    """Kill the master of a key while both services are read and written: nothing acknowledged is lost, or there twice.

    `of_nobody`: the key belongs to nobody, so that all writes need it. An attempt is told apart from the others.
    """
    name = f"{'home' if of_nobody else 'part'}-{attempt}"
    ledger = Ledger()
    first, second = urls
    loads = [Load(first, ledger, f"{name}-a", second), Load(second, ledger, f"{name}-b", first)]
    for load in loads:
        load.start(WRITERS, READERS)
    await asyncio.sleep(1)
    ledger.at_fault = True
    watching = asyncio.create_task(longest_without_a_write(ledger))
    dead, elected = await asyncio.to_thread(cluster.fail_over, key)
    noticed = await until_told(urls, wanted=False)
    whole = await until_told(urls, wanted=True)
    await asyncio.sleep(0.5)
    watching.cancel()
    idle = await watching
    dead.start()
    await asyncio.to_thread(cluster.wait_until_whole, len(cluster.nodes))
    ledger.at_fault = False
    await asyncio.sleep(0.5)
    for load in loads:
        await load.stop()
    assert await settled(stores) == []
    found = FailedOver(elected, noticed, whole, idle, ledger)
    log.warning("%s", found)
    for url in urls:
        verdict = await check(ledger, stores, url)
        assert (verdict.lost, verdict.duplicated, verdict.wrong) == (0, 0, []), verdict
    assert not ledger.broken, ledger.broken
    assert (ledger.reads["failed"], ledger.writes["failed"]) == (0, 0)
    assert ledger.reads["refused"] <= 0.05 * ledger.reads["answered"]  # with 503, as on a machine that is overloaded
    assert ledger.reads["degraded"] > 0
    assert ledger.writes["refused"] > 0 or not of_nobody  # where all happened to be of other parts
    assert ledger.writes["answered"] > 0
    return found
