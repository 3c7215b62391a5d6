"""On a Redis Cluster: the most telling tests of one server once more, and what there is on a cluster alone."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from contract.changelog import EVERYTHING, ChangeLog
from contract.environment import StoreSettings
from contract.errors import StoreUnavailable
from contract.graph import OnlineGraph
from contract.keyspace import Keyspace, Part
from contract.progress import silent
from contract.vectors import VectorStore
from tests.agreement import disagreements
from tests.conftest import copied_stores
from tests.integration.running import Service, answer, serving, until
from tests.integration.test_changes import (
    test_a_follow_changes_the_very_next_answer,
    test_a_retweet_reaches_followers_and_leaves_the_retweeter,
    test_a_tweet_that_a_user_hides_is_gone_for_that_user,
    test_changes_at_once_leave_redis_as_sql_is,
    test_redis_rebuilt_from_sql_is_what_it_was,
    test_who_follows_thousands_is_answered,
)
from tests.integration.test_limits import test_a_key_s_rate_counts_over_all_processes
from tests.integration.test_online import (
    test_a_vector_that_changes_changes_the_very_next_score,
    test_an_answer_s_second_time_reads_nothing_but_the_log,
    test_another_process_s_changes_are_known_to_the_very_next_answer,
    test_what_changes_while_it_is_read_is_not_kept,
    two,
)
from tests.load import at_work
from tests.redis_cluster import RedisCluster
from training.publish import rebuild_redis
from training.retrain import publish_folder
from training.stores import Stores, with_stores

pytestmark = pytest.mark.anyio

__all__ = [
    "test_a_follow_changes_the_very_next_answer",
    "test_a_key_s_rate_counts_over_all_processes",
    "test_a_retweet_reaches_followers_and_leaves_the_retweeter",
    "test_a_tweet_that_a_user_hides_is_gone_for_that_user",
    "test_a_vector_that_changes_changes_the_very_next_score",
    "test_an_answer_s_second_time_reads_nothing_but_the_log",
    "test_another_process_s_changes_are_known_to_the_very_next_answer",
    "test_changes_at_once_leave_redis_as_sql_is",
    "test_redis_rebuilt_from_sql_is_what_it_was",
    "test_what_changes_while_it_is_read_is_not_kept",
    "test_who_follows_thousands_is_answered",
    "two",
]

USER = "u0001"


@pytest.fixture(scope="module")
def trained(trained_servers: StoreSettings, cluster: RedisCluster) -> Iterator[StoreSettings]:
    with copied_stores(trained_servers, cluster.url) as settings:
        yield settings


def test_another_number_of_parts_is_refused(trained: StoreSettings) -> None:
    other = trained.model_copy(update={"redis_parts": 8})

    async def nothing(_: Stores) -> None:
        pass

    with pytest.raises(StoreUnavailable, match=r"REDIS_PARTS is 8, .* divided into 16 parts: set REDIS_PARTS=16"):
        with_stores(other, nothing)


async def test_a_service_with_another_number_of_parts_does_not_start(trained: StoreSettings) -> None:
    with pytest.raises(StoreUnavailable, match="REDIS_PARTS=16"):
        async with serving(trained, redis_parts=8):
            pass


def test_all_parts_have_some_and_what_there_is_agrees_with_sql(trained: StoreSettings, cluster: RedisCluster) -> None:
    async def sizes(opened: Stores) -> list[int]:
        found = []
        for part in Keyspace(opened.redis, opened.namespace).parts:
            found.append(len([key async for key in part.redis.scan_iter(part.key("*"))]))
        return found

    assert min(with_stores(trained, sizes)) > 3
    assert {cluster.master_of(prefix).port for prefix in with_stores(trained, _prefixes)} == {
        node.port for node in cluster.masters()
    }
    assert asyncio.run(disagreements(trained)) == []


async def _prefixes(opened: Stores) -> list[str]:
    return [part.prefix for part in Keyspace(opened.redis, opened.namespace).parts]


def test_all_is_written_anew_by_the_command(trained: StoreSettings) -> None:
    async def lose(opened: Stores) -> None:
        for part in Keyspace(opened.redis, opened.namespace).parts:
            await part.redis.unlink(*[key async for key in part.redis.scan_iter(part.key("*"))])

    async def rebuild(opened: Stores) -> None:
        await rebuild_redis(trained.models_dir, opened, silent)

    with_stores(trained, lose)
    with_stores(trained, rebuild)
    assert asyncio.run(disagreements(trained)) == []


def test_the_log_tells_of_each_part(trained: StoreSettings) -> None:
    async def work(opened: Stores) -> None:
        graph, vectors = OnlineGraph(opened.redis, "log-test"), VectorStore(opened.redis, "log-test")
        log = ChangeLog(opened.redis, "log-test")
        assert set(await log.changed()) == {EVERYTHING}
        ids = [f"u{n}" for n in range(40)]
        await graph.add_users(ids)
        await vectors.forget_tweets(["v1"], ["t1", "t2"])
        assert sorted(await log.changed()) == sorted([f"user:{id_}" for id_ in ids] + ["v:v1:t:t1", "v:v1:t:t2"])
        assert await log.changed() == []
        await graph.add_users(ids)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(log, "_see_who_answers", None)  # a look that fails when it has read
            with pytest.raises(TypeError):
                await log.changed()
        assert sorted(await log.changed()) == sorted(f"user:{id_}" for id_ in ids)
        for part in Keyspace(opened.redis, "log-test").parts:
            await part.redis.unlink(*[key async for key in part.redis.scan_iter(part.key("*"))])

    with_stores(trained, work)


async def test_a_part_whose_server_was_started_again_is_written_anew(service: Service) -> None:
    """As the run of its server tells, since nobody knows what it had not saved; the others stay as they are."""
    vectors, keys = service.parts.ingest.vectors, service.parts.ingest.graph._keys
    assert not await vectors.has_gaps()
    expected = await answer(service, USER)
    part = keys.of(USER)
    other = next(user for user in (f"u{n:04}" for n in range(2, 60)) if keys.of(user) != part)
    stays = keys.of(other).key("follow", other)
    await keys.of(other).redis.sadd(stays, "behind-the-log")
    await part.redis.set(part.key("whole"), "another run")
    await part.redis.unlink(part.key("follow", USER))  # what was lost, and nobody had read of
    assert await vectors.has_gaps()
    service.parts.online.network._log.moved = True  # as a new connection tells

    async def lost() -> bool:
        return service.parts.online.network.lost

    async def whole() -> bool:
        return not service.parts.online.network.lost

    await until(lost, 5)
    await until(whole, 30)
    assert not await vectors.has_gaps()
    assert await answer(service, USER) == expected
    assert await keys.of(other).redis.srem(stays, "behind-the-log") == 1


def test_a_publish_sees_that_a_server_took_over_meanwhile(
    trained: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written to the one before may be lost: the version does not serve, and services write anew."""
    (folder,) = trained.models_dir.iterdir()
    real = Keyspace.run_ids
    asked = 0

    async def another_run_before(keys: Keyspace) -> dict[Part, str]:
        nonlocal asked
        asked += 1
        found = await real(keys)
        return {**found, keys.of(USER): "another run"} if asked == 1 else found

    async def has_gaps(opened: Stores) -> bool:
        return await VectorStore(opened.redis, opened.namespace).has_gaps()

    with monkeypatch.context() as patch:
        patch.setattr(Keyspace, "run_ids", another_run_before)
        with pytest.raises(StoreUnavailable, match="lost its contents while"):
            publish_folder(folder, trained, silent)
    assert asked == 2
    assert not with_stores(trained, has_gaps), "a part that was written anew meanwhile is whole all the same"
    publish_folder(folder, trained, silent)


async def test_a_slot_that_moves_to_another_server_is_followed(service: Service, cluster: RedisCluster) -> None:
    keys = service.parts.ingest.graph._keys
    part = keys.of(USER)
    followees = [user for user in (f"u{n:04}" for n in range(30, 40)) if user != USER]

    async def changes() -> None:
        for followee in itertools.cycle(followees):
            followed = await service.client.put(f"/users/{USER}/followees/{followee}")
            assert followed.status_code in (200, 201), followed.text
            assert followee in (await service.parts.ingest.graph.user(USER)).followee_ids
            ended = await service.client.delete(f"/users/{USER}/followees/{followee}")
            assert ended.status_code == 204, ended.text

    async def reads() -> None:
        while True:
            await answer(service, USER)

    before = part.address
    async with at_work(changes(), reads()):
        await asyncio.sleep(0.3)
        await asyncio.to_thread(cluster.move_slot, part.prefix)
        await until(lambda: _whole(service), 30)
        await asyncio.sleep(0.3)
    assert part.address != before
    assert not await service.parts.ingest.vectors.has_gaps()
    await until(lambda: _agrees(service), 10)


async def _whole(service: Service) -> bool:
    return bool((await service.client.get("/health/ready")).json()["redis"] == "ok")


async def _agrees(service: Service) -> bool:
    return not await disagreements(service.settings)
