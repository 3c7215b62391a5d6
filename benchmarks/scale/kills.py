"""What is killed on the way, and what it costs: a Ray node, masters of a Redis Cluster, one of three replicas.

    python -m benchmarks.scale --only kills

The tests' own scenarios (tests/ray_nodes.py, tests/failovers.py, tests/replicas.py), which fail where anything that was
acknowledged is lost or there twice.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.results import Result, Section, command, result
from contract.environment import StoreSettings
from contract.progress import silent
from tests.chaos.check import Verdict
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
from tests.redis_cluster import redis_cluster
from tests.replicas import moved, one_is_killed, three_replicas
from training.stores import with_stores
from training.synthesize import SynthesisSettings, synthesize

COMMAND = f"{command('scale')} --only kills"
ROUNDS = 3
NONE = ("<=", 0.0)
TEXT = (
    f"The tests' scenarios, a made network of 60 users. Ray: three nodes on loopback, {TWEETS} tweets with pictures of "
    f"3 megapixels in shards of {SHARD}; the third node's raylet is killed once a fifth is stored. Redis Cluster: six "
    "Valkeys that take a node for dead after 1 s, two services on PostgreSQL, four writers and four readers; the "
    f"master of a part is killed, and that of what belongs to nobody, {ROUNDS} times each, medians. Replicas: three "
    "on PostgreSQL, Redis and S3 (moto), five clients, pages and repeated posts, each request to any of them; one is "
    "killed and one that has nothing but its settings takes its place. All by SIGKILL. What was acknowledged is "
    "looked for afterwards, in SQL and in Redis, at each service."
)


def measure() -> Section:
    """Some seven minutes. Raises AssertionError where something acknowledged is lost, or there twice."""
    with tempfile.TemporaryDirectory(prefix="itr") as folder:
        network = Path(folder) / "tiny"
        synthesize(network, SynthesisSettings(users=60, tweets=80), silent)
        with trained_stores("embedded", network) as embedded:
            rows = of_ray(embedded)
        with trained_stores("servers", network) as servers:
            rows += of_redis(servers, Path(folder))
            rows += of_replicas(servers)
    return Section("Kills", TEXT, rows)


def of_ray(trained: StoreSettings) -> list[Result]:
    """Three nodes without a kill first, then three of which one is killed."""
    with copied_stores(trained) as stores:
        with_stores(stores, add_tweets)
        with three_nodes(stores) as nodes:
            forget(stores)
            undisturbed = _seconds(lambda: encode(stores, *on_cluster(nodes)))
            expected = vectors(stores)
        with three_nodes(stores) as nodes:
            forget(stores)
            again: list[int] = []
            disturbed = _seconds(lambda: again.append(encode_while_a_node_is_killed(stores, nodes)))
            made = vectors(stores)
    differ = sum(made.get(tweet_id) != expected.get(tweet_id) for tweet_id in made.keys() | expected.keys())
    name, more = "Ray, a node of three", disturbed - undisturbed
    return [
        result(f"{name}: it takes", more, "s more", f"{undisturbed:.1f} s without", COMMAND, None),
        result(f"{name}: encoded again", sum(again), "shards", f"of {TWEETS // SHARD}", COMMAND, None),
        result(f"{name}: vectors that lack or differ", differ, "", f"of {len(expected)}", COMMAND, NONE),
    ]


def of_redis(trained: StoreSettings, folder: Path) -> list[Result]:
    """The master of a part, then that of what belongs to nobody, several times."""
    found: dict[str, list[FailedOver]] = {"part": [], "home": []}
    with (
        redis_cluster() as cluster,
        copied_stores(trained, cluster.url) as stores,
        two_services(stores, folder) as urls,
    ):
        home, *parts = with_stores(stores, prefixes)
        for n in range(ROUNDS):
            for whose, key in zip(found, (a_part_beside(home, parts, cluster), home), strict=True):
                found[whose].append(asyncio.run(fail_over_under_load(urls, stores, cluster, key, f"{whose}-{n}")))
    of_a_part = _of_masters("Redis Cluster, the master of a part", found["part"])
    return of_a_part + _of_masters("Redis Cluster, the master of what belongs to nobody", found["home"])


def _of_masters(name: str, some: list[FailedOver]) -> list[Result]:
    def median(value: Callable[[FailedOver], float]) -> float:
        return statistics.median(map(value, some))

    return [
        result(f"{name}: another one serves after", median(lambda one: one.elected), "s", "", COMMAND, None),
        result(f"{name}: services notice after", median(lambda one: one.noticed), "s more", "", COMMAND, None),
        result(f"{name}: all is written anew after", median(lambda one: one.whole), "s more", "", COMMAND, None),
        result(f"{name}: longest without a write", median(lambda one: one.idle), "s", "", COMMAND, None),
        *_requests(name, [one.ledger for one in some], [verdict for one in some for verdict in one.verdicts]),
    ]


def _requests(name: str, ledgers: list[Ledger], verdicts: list[Verdict]) -> list[Result]:
    """From the kill until all is as before; violations are of the whole load's."""
    rows = [result(f"{name}: slowest read", max(one.slowest_read for one in ledgers), "s", "", COMMAND, None)]
    for what, counts in {"reads": [one.reads for one in ledgers], "writes": [one.writes for one in ledgers]}.items():
        ends = {end: sum(count[end] for count in counts) for end in ("answered", "refused", "failed")}
        of_all = f"of {sum(ends.values()):,}"
        rows += [
            result(f"{name}: {what} that failed", ends["failed"], "", of_all, COMMAND, None),
            result(f"{name}: {what} refused by 503", ends["refused"], "", of_all, COMMAND, None),
        ]
    violations = sum(verdict.violations for verdict in verdicts)
    acknowledged = sum(one.acknowledged for one in ledgers)
    lost = result(f"{name}: lost, there twice, or else wrong", violations, "", f"of {acknowledged:,}", COMMAND, NONE)
    return [*rows, lost]


def of_replicas(trained: StoreSettings) -> list[Result]:
    """Once."""
    with (
        object_store() as server,
        copied_stores(trained) as local,
        three_replicas(moved(local, server.url("pictures"), server.url("models"))) as replicas,
    ):
        killed = asyncio.run(one_is_killed(replicas))
    name = "Replicas, one of three"
    replaced = result(f"{name}: a new one answers after", killed.replaced, "s", "", COMMAND, None)
    return [replaced, *_requests(name, [killed.ledger], killed.verdicts)]


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
