"""Redis that lost its contents, case by case; tests/e2e has it under load."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.environment import StoreSettings
from contract.errors import StoreUnavailable
from contract.graph import OnlineGraph
from contract.marks import restoring, writing
from contract.progress import Progress, silent
from contract.rebuild import rebuild_graph
from contract.tasks import end
from contract.vectors import Vectors, VectorStore
from service.online import OnlineNetwork
from service.restore import Restorer
from tests.integration.running import Service, answer, changed, new_user, problem, serving, until
from training import publish
from training.retrain import publish_folder
from training.stores import Stores, with_stores

pytestmark = pytest.mark.anyio
USER = "u0001"


@pytest.fixture
async def service(trained: StoreSettings) -> AsyncIterator[Service]:
    async with serving(trained) as started:
        yield started


@pytest.fixture
async def lost(trained: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A service that lost everything, after an answer to USER, and does not get it back."""

    async def nothing(_: Restorer) -> None:
        pass

    monkeypatch.setattr(Restorer, "restore_if_lost", nothing)
    async with serving(trained) as started:
        await answer(started, USER)
        await lose_everything(started)
        yield started
        monkeypatch.undo()
    async with serving(trained) as started:
        await until(lambda: whole(started), 20)


async def lose_everything(service: Service) -> None:
    redis = service.redis
    await redis.delete(*[key async for key in redis.scan_iter(f"{service.settings.redis_namespace}:*", count=1_000)])


async def whole(service: Service) -> bool:
    return bool((await service.client.get("/health/ready")).json()["redis"] == "ok")


async def answers(network: OnlineNetwork) -> bool:
    """Whether Redis does again."""
    return not network.away


async def test_what_is_held_is_answered_from(lost: Service) -> None:
    assert (await lost.client.get("/health/ready")).status_code == 200
    assert not await whole(lost)
    body = await answer(lost, USER)
    assert (body["degraded"], body["missing"], body["source"]) == (True, ["online_network"], "followees")
    assert body["items"]
    assert b"online_network_lost 1.0" in (await lost.client.get("/metrics")).content


async def test_who_is_not_held_is_written_from_sql(lost: Service) -> None:
    graph = lost.parts.ingest.graph
    assert not (await graph.user("u0002")).exists
    body = await answer(lost, "u0002")
    assert body["degraded"]
    assert "online_network" in body["missing"]
    assert (await graph.user("u0002")).exists
    assert not (await graph.user("u0003")).exists
    problem(await lost.client.get("/users/nobody/recommendations"), 404, "unknown-user")


async def test_what_changes_meanwhile_counts_at_once(lost: Service) -> None:
    first = (await answer(lost, USER))["items"][0]["tweet_id"]
    await changed(lost, "PUT", f"/users/{USER}/retweets/{first}", 201)
    assert first not in {item["tweet_id"] for item in (await answer(lost, USER))["items"]}
    await changed(lost, "DELETE", f"/users/{USER}/retweets/{first}", 204)
    await new_user(lost, "follows")
    await changed(lost, "PUT", f"/users/follows/followees/{USER}", 201)
    assert (await lost.parts.ingest.graph.user("follows")).followee_ids == [USER]


async def test_a_loss_is_remembered_through_a_redis_that_does_not_answer(
    lost: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: VectorStore) -> str | None:
        raise RedisConnectionError("gone")

    network = lost.parts.online.network
    network.lost, network._log._read = False, {network.graph._home: b"0-1"}  # as if this process had yet to see it
    with monkeypatch.context() as patch:
        patch.setattr(VectorStore, "active_version", fails)
        assert (await answer(lost, USER))["missing"] == ["online_network"]
        assert network.away
    await until(lambda: answers(network), 5)
    assert network.lost
    assert (await answer(lost, USER))["missing"] == ["online_network"]


async def test_what_is_absent_is_read_once_an_answer(lost: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    real = VectorStore.users

    async def counting(store: VectorStore, version: str, ids: Sequence[str], dim: int) -> tuple[list[str], Vectors]:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.01)
        return await real(store, version, ids, dim)

    users = [f"u{n:04}" for n in range(1, 41)]
    await asyncio.gather(*(answer(lost, user) for user in users))
    monkeypatch.setattr(VectorStore, "users", counting)
    await asyncio.gather(*(answer(lost, user) for user in users for _ in range(3)))
    assert 0 < reads <= 3 * len(users)


async def test_what_is_being_rebuilt_on_demand_is_said_to_be_degraded(
    trained: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: Restorer) -> None:
        pass

    with monkeypatch.context() as patch:
        patch.setattr(Restorer, "restore_if_lost", nothing)
        async with serving(trained) as service:
            assert not (await answer(service, USER))["degraded"]
            assert (await service.client.post("/models:rebuild-redis")).status_code == 202
            body = await answer(service, USER)
            assert (body["degraded"], body["missing"]) == (True, ["online_network"])
            problem(await service.client.post("/models:rebuild-redis"), 503, "not-ready")
    async with serving(trained) as service:
        await until(lambda: whole(service), 20)


async def test_no_version_is_activated_on_half_of_it(lost: Service) -> None:
    version = lost.parts.ingest.models.required().version
    problem(await lost.client.post(f"/models/{version}:activate"), 503, "not-ready")
    assert await lost.parts.ingest.vectors.active_version() is None


async def test_a_service_writes_everything_anew(service: Service) -> None:
    graph = service.parts.ingest.graph
    users = [f"u{n:04}" for n in range(1, 61)]
    before = [await answer(service, user) for user in users], await graph.timelines(users), await graph.recent()
    await lose_everything(service)
    await until(lambda: whole(service), 20)
    assert before == (
        [await answer(service, user) for user in users],
        await graph.timelines(users),
        await graph.recent(),
    )


async def test_a_service_starts_on_an_empty_redis(service: Service, trained: StoreSettings) -> None:
    expected = await answer(service, USER)
    await lose_everything(service)
    async with serving(trained) as other:
        body = await answer(other, USER)
        assert body == expected or "online_network" in body["missing"]
        await until(lambda: whole(other), 20)
        assert await answer(other, USER) == expected


def test_a_publish_sees_that_redis_lost_what_it_wrote(trained: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder,) = trained.models_dir.iterdir()

    async def lose(engine: AsyncEngine, graph: OnlineGraph, _: Progress) -> None:
        keys = [key async for key in graph._home.redis.scan_iter(f"{trained.redis_namespace}:*", count=1_000)]
        await graph._home.redis.delete(*keys)
        await rebuild_graph(engine, graph)

    monkeypatch.setattr(publish, "rebuild_graph", lose)
    for work in (
        lambda: publish_folder(folder, trained, silent),
        lambda: with_stores(trained, lambda opened: publish.rebuild_redis(trained.models_dir, opened, silent)),
    ):
        with pytest.raises(StoreUnavailable, match="lost its contents"):
            work()
        assert active(trained) is None
    with pytest.raises(StoreUnavailable, match="rebuild-redis"):
        with_stores(trained, lambda opened: activate_empty(folder.name, opened))
    monkeypatch.undo()
    publish_folder(folder, trained, silent)
    assert active(trained) == folder.name


def active(stores: StoreSettings) -> str | None:
    return with_stores(stores, lambda opened: VectorStore(opened.redis, opened.namespace).active_version())


def _plain(opened: Stores) -> Redis:
    assert isinstance(opened.redis, Redis)
    return opened.redis


async def activate_empty(version: str, stores: Stores) -> None:
    await VectorStore(stores.redis, stores.namespace).activate(version)


def test_who_is_cancelled_at_any_moment_takes_the_mark_away(stores: StoreSettings) -> None:
    """Else nobody writes anew for 20 s."""

    async def mark_for_a_moment(opened: Stores) -> None:
        async with restoring(opened.redis, opened.namespace):
            await asyncio.sleep(0)

    async def cancelled_after(turns: int, opened: Stores) -> bool:
        """Whether it was done before."""
        task = asyncio.create_task(mark_for_a_moment(opened))
        for _ in range(turns):
            await asyncio.sleep(0)
        ended = task.done()
        await end(task)
        assert not await _plain(opened).exists(f"{opened.namespace}:restoring"), turns
        return ended

    async def at_every_moment(opened: Stores) -> None:
        turns = 1
        while not await cancelled_after(turns, opened):
            turns += 1
        assert turns > 5

    with_stores(stores, at_every_moment)


def test_one_process_writes_at_a_time_and_a_killed_one_is_followed(trained: StoreSettings) -> None:
    async def two(opened: Stores) -> None:
        redis = _plain(opened)
        async with restoring(opened.redis, opened.namespace) as first:
            assert first is not None
            async with restoring(opened.redis, opened.namespace) as second:
                assert second is None
            assert 0 < await redis.ttl(first.key) <= 20
            await redis.delete(first.key)
            async with restoring(opened.redis, opened.namespace) as third:
                assert third is not None
                with pytest.raises(StoreUnavailable):
                    await first.set_if_there(f"{opened.namespace}:probe", "x")
            assert await redis.get(f"{opened.namespace}:probe") is None
        async with writing(opened.redis, opened.namespace, "probe") as mark:
            await mark.set_if_there(f"{opened.namespace}:probe", "x")
            assert await redis.exists(mark.key)
        assert not await redis.exists(mark.key)
        await redis.delete(f"{opened.namespace}:probe")

    with_stores(trained, two)
