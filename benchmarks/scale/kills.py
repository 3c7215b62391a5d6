"""What is killed on the way, and what it costs: a Ray node, masters of a Redis Cluster, one of three replicas.

    python -m benchmarks.scale --only kills

The tests' own scenarios (tests/ray_nodes.py, tests/failovers.py, tests/replicas.py), which fail where anything that was
acknowledged is lost or there twice. PostgreSQL and Redis are those of the tests: TEST_DATABASE_URL, TEST_REDIS_URL.
"""

import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from benchmarks.results import Result, Section, command, result
from contract.environment import StoreSettings
from contract.progress import silent
from tests import failovers, replicas
from tests.chaos.load import Ledger
from tests.conftest import copied_stores, trained_stores
from tests.failovers import FailedOver, a_part_beside, fail_over_under_load, prefixes
from tests.object_store import object_store
from tests.processes import two_services
from tests.ray_nodes import (
    SHARD,
    TWEETS,
    add_tweets,
    encode,
    encode_while_a_node_is_killed,
    forget,
    on_cluster,
    three_nodes,
    vectors,
)
from tests.redis_cluster import NODE_TIMEOUT_MS, redis_cluster
from tests.replicas import moved, one_is_killed, three_replicas
from training.stores import with_stores
from training.synthesize import SynthesisSettings, synthesize

COMMAND = f"{command('scale')} --only kills"
ROUNDS = 3
USERS = 60
T = TypeVar("T")
TEXT = (
    f"The tests' scenarios, a made network of {USERS} users. Ray, once: three nodes on loopback, {TWEETS} tweets with "
    f"pictures of 3 megapixels in shards of {SHARD}; a node's raylet is killed once a fifth is stored, and all vectors "
    f"are those of a run without a kill. Redis Cluster: three masters with a replica each that take a node for dead "
    f"after {NODE_TIMEOUT_MS / 1e3:g} s, two services on PostgreSQL, {2 * failovers.WRITERS} writers and "
    f"{2 * failovers.READERS} readers; the master of a part is killed, and that of what belongs to nobody, {ROUNDS} "
    "times each: seconds are medians but for the slowest read, requests are sums. Replicas, once: three on PostgreSQL, "
    f"Redis and S3 (moto), {replicas.WRITERS} writers, {replicas.READERS} readers, one who reads page by page and one "
    "who posts again, each request to any of them; one is killed, and one that has nothing but its settings takes its "
    "place. "
    "Requests are those from the kill on. All by SIGKILL. What was acknowledged is looked for afterwards, in SQL, in "
    "Redis and at each service: were any of it lost or there twice, there would be no figures, as the scenario fails. "
    "A degraded answer has the tweets that could be read."
)


def measure() -> Section:
    """Some four minutes.

    Raises AssertionError where something acknowledged is lost, or there twice, RuntimeError where a server is missing.
    """
    try:
        return Section("Kills", TEXT, measured())
    except pytest.skip.Exception as missing:
        raise RuntimeError(str(missing)) from missing


def measured() -> list[Result]:
    """All of them, in turn."""
    with tempfile.TemporaryDirectory(prefix="itr") as folder:
        network = Path(folder) / "tiny"
        synthesize(network, SynthesisSettings(users=USERS, tweets=80), silent)
        with trained_stores("embedded", network) as embedded:
            rows = of_ray(embedded)
        with trained_stores("servers", network) as servers:
            rows += of_redis(servers, Path(folder))
            rows += of_replicas(servers)
    return rows


def of_ray(trained: StoreSettings) -> list[Result]:
    """Three nodes without a kill first, then three of which one is killed."""
    with copied_stores(trained) as stores:
        with_stores(stores, add_tweets)
        with three_nodes(stores) as nodes:
            forget(stores)
            undisturbed, _ = _timed(lambda: encode(stores, *on_cluster(nodes)))
            expected = vectors(stores)
        with three_nodes(stores) as nodes:
            forget(stores)
            disturbed, again = _timed(lambda: encode_while_a_node_is_killed(stores, nodes))
            if vectors(stores) != expected:
                raise AssertionError("a killed node changes vectors")
    name, more = "Ray, a node of three", disturbed - undisturbed
    return [
        result(f"{name}: it takes", more, "s more", f"{undisturbed:.1f} s without", COMMAND, None),
        result(f"{name}: encoded again", again, "shards", f"of {TWEETS // SHARD}", COMMAND, None),
    ]


def of_redis(trained: StoreSettings, folder: Path) -> list[Result]:
    """The master of a part, then that of what belongs to nobody, several times."""
    of_parts, of_nobody = list[FailedOver](), list[FailedOver]()
    with (
        redis_cluster() as cluster,
        copied_stores(trained, cluster.url) as stores,
        two_services(stores, folder) as urls,
    ):
        home, *parts = with_stores(stores, prefixes)
        for n in range(ROUNDS):
            part = a_part_beside(home, parts, cluster)
            of_parts.append(asyncio.run(fail_over_under_load(urls, stores, cluster, part, of_nobody=False, attempt=n)))
            of_nobody.append(asyncio.run(fail_over_under_load(urls, stores, cluster, home, of_nobody=True, attempt=n)))
    return [
        *_of_masters("Redis Cluster, the master of a part", of_parts),
        *_of_masters("Redis Cluster, the master of what belongs to nobody", of_nobody),
    ]


def _of_masters(name: str, some: list[FailedOver]) -> list[Result]:
    def median(value: Callable[[FailedOver], float]) -> float:
        return statistics.median(map(value, some))

    return [
        result(f"{name}: another one serves after", median(lambda one: one.elected), "s", "", COMMAND, None),
        result(f"{name}: services notice after", median(lambda one: one.noticed), "s more", "", COMMAND, None),
        result(f"{name}: all is written anew after", median(lambda one: one.whole), "s more", "", COMMAND, None),
        result(f"{name}: longest without a write", median(lambda one: one.idle), "s", "", COMMAND, None),
        *_requests(name, [one.ledger for one in some]),
    ]


def _requests(name: str, ledgers: list[Ledger]) -> list[Result]:
    """From the kill until all is as before."""
    rows = [result(f"{name}: slowest read", max(one.slowest_read for one in ledgers), "s", "", COMMAND, None)]
    for what, counts in {"reads": [one.reads for one in ledgers], "writes": [one.writes for one in ledgers]}.items():
        ends = sum(counts, Counter())
        of_all = f"of {ends['answered'] + ends['refused'] + ends['failed']:,}"
        kinds = ("failed", "refused", "degraded") if what == "reads" else ("failed", "refused")
        rows += [result(f"{name}: {what}, {kind}", ends[kind], "", of_all, COMMAND, None) for kind in kinds]
    acknowledged = sum(one.acknowledged for one in ledgers)
    return [*rows, result(f"{name}: writes acknowledged, before and after too", acknowledged, "", "", COMMAND, None)]


def of_replicas(trained: StoreSettings) -> list[Result]:
    """Once."""
    with (
        object_store() as server,
        copied_stores(trained) as local,
        three_replicas(moved(local, server.url("pictures"), server.url("models"))) as started,
    ):
        killed = asyncio.run(one_is_killed(started))
    name = "Replicas, one of three"
    replaced = result(f"{name}: a new one answers after", killed.replaced, "s", "", COMMAND, None)
    return [replaced, *_requests(name, [killed.ledger])]


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.monotonic()
    done = work()
    return time.monotonic() - began, done
