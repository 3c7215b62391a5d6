"""A cluster of the tests' own, whose servers hang, die and lose slots, without a service around what is held."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError

from contract.changelog import ChangeLog
from contract.cluster import Cluster
from contract.graph import OnlineGraph
from contract.keyspace import Keyspace
from contract.marks import writing
from contract.vectors import VectorStore
from service.active import ActiveModel
from service.metrics import Metrics
from service.online import OnlineNetwork
from service.stored import StoredNetwork
from tests.integration.running import until
from tests.redis_cluster import Node, RedisCluster, redis_cluster

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 1.0
IDS = [f"u{n}" for n in range(100)]


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[RedisCluster]:
    with redis_cluster() as started:
        for node in started.nodes:
            node.ask("ACL", "SETUSER", "service", "on", ">a,secret", "~*", "+@all", "-@dangerous", "+info")
            node.ask("ACL", "SETUSER", "without-info", "on", ">a,secret", "~*", "+@all", "-info")
        yield started


@asynccontextmanager
async def connected(servers: RedisCluster, user: str = "service:a%2Csecret") -> AsyncIterator[Cluster]:
    cluster = Cluster(servers.url.replace("://", f"://{user}@"), 16, PATIENCE_SECONDS)
    await cluster.ask_who_has_what()
    try:
        yield cluster
    finally:
        await cluster.aclose()


@contextmanager
def hung(node: Node) -> Iterator[None]:
    """It takes connections all the same: the kernel does."""
    assert node.process is not None
    node.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        node.process.send_signal(signal.SIGCONT)


async def online(cluster: Cluster, namespace: str) -> OnlineNetwork:
    """All users, under a version that serves; the database is not asked."""
    graph, vectors = OnlineGraph(cluster, namespace), VectorStore(cluster, namespace)
    await graph.add_users(IDS)
    async with writing(cluster, namespace, "v1") as mark:
        await vectors.activate("v1", mark)
    stored = cast(StoredNetwork, SimpleNamespace(models=SimpleNamespace(compared=None), user=print))
    return OnlineNetwork(ChangeLog(cluster, namespace), graph, vectors, stored, 10**8, Metrics())


async def test_a_user_with_a_password_needs_info(own_cluster: RedisCluster) -> None:
    async with connected(own_cluster) as cluster:
        assert await Keyspace(cluster, "acl").home.redis.acl_whoami() == "service"
    async with connected(own_cluster, "without-info:a%2Csecret") as cluster:
        with pytest.raises(NoPermissionError, match="'info'"):
            await Keyspace(cluster, "acl").home.redis.get("{acl}:active")
    with pytest.raises(RedisConnectionError, match="invalid username-password"):
        async with connected(own_cluster, "service:another"):
            pass


async def test_what_names_no_key_follows_a_slot_all_the_same(own_cluster: RedisCluster) -> None:
    async with connected(own_cluster) as cluster:
        vectors, keys = VectorStore(cluster, "moves"), Keyspace(cluster, "moves")
        await vectors.put_users("v1", IDS, np.ones((len(IDS), 2), np.float16))
        part = keys.of("u1")
        before = part.address
        await asyncio.gather(*(part.redis.get(part.key("changes:none")) for _ in range(8)))  # each on its connection
        await asyncio.to_thread(own_cluster.move_slot, part.prefix)
        assert part.address == before, "nobody has said so yet"
        assert {id_ async for id_ in vectors.user_ids()} == set(IDS)
        run_ids = await keys.run_ids()
        assert part.address != before
        new = next(node for node in own_cluster.nodes if part.address == ("127.0.0.1", node.port))
        assert run_ids[part] == new.info("server")["run_id"]
        await vectors.delete_version("v1")
        assert await vectors.versions() == set()


async def test_a_slot_that_moves_while_it_is_scanned_is_scanned_anew(
    own_cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contract.keyspace._SCANNED_AT_A_TIME", 2)
    async with connected(own_cluster) as cluster:
        graph, keys = OnlineGraph(cluster, "scanned"), Keyspace(cluster, "scanned")
        await graph.add_users(IDS)
        part = keys.of("u1")
        wanted = {id_ for id_ in IDS if keys.of(id_) == part}
        found: set[str] = set()
        async for key in part.scan("user", "*"):
            if not found:
                await asyncio.to_thread(own_cluster.move_slot, part.prefix)
            found.add(key.decode().rpartition(":")[2])
        assert found == wanted


async def test_a_master_that_hangs_is_left_when_its_replica_took_over(
    own_cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(own_cluster) as cluster:
        home = Keyspace(cluster, "hangs").home
        await home.redis.set(home.key("one"), 1)
        node = own_cluster.master_of(home.prefix)
        with hung(node):

            async def is_answered() -> bool:
                try:
                    return await home.redis.get(home.key("one")) == b"1"
                except RedisError:
                    return False

            await until(is_answered, 10)
            assert home.address != ("127.0.0.1", node.port)
            monkeypatch.setattr(random, "sample", lambda known, _: sorted(known, key=lambda at: at[1] != node.port))
            async with connected(own_cluster):  # though it is asked first
                pass
    await asyncio.to_thread(own_cluster.wait_until_whole, len(own_cluster.nodes))


async def test_changes_on_other_servers_are_told_while_one_is_away(own_cluster: RedisCluster) -> None:
    """The last test: a master and its replica are killed."""
    async with connected(own_cluster) as cluster, connected(own_cluster) as elsewhere:
        network = await online(cluster, "away")
        keys = Keyspace(cluster, "away")
        dead = own_cluster.master_of(keys.home.prefix)
        user = next(id_ for id_ in IDS if keys.of(id_).address != ("127.0.0.1", dead.port))
        model = cast(ActiveModel, SimpleNamespace(version="v1", manifest=SimpleNamespace(dim=2)))
        for _ in range(2):
            held = await network.fresh(model)
            assert await network.view(held, user) is not None
        assert user in held.views
        for node in (*own_cluster.replicas_of(dead), dead):
            node.kill()
        with pytest.raises(RedisError):
            await network.look()
        assert network.away
        assert user in (await network.fresh(model)).views
        await OnlineGraph(elsewhere, "away").add_follows([(user, "u7")])
        with pytest.raises(RedisError):
            await network.look()
        assert user not in (await network.fresh(model)).views
        await network.aclose()
