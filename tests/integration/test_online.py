"""What processes hold in memory is never older than a request: changes of other processes, lost logs, races."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest

from contract.changelog import EVERYTHING, LOG_LIMIT, ChangeLog
from contract.embedded import open_redis, redis_server
from contract.environment import StoreSettings
from contract.graph import OnlineGraph, TimelineEntry
from contract.vectors import VectorStore
from tests.integration.running import Network, Service, changed, new_user, offered, png, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
async def two(trained: StoreSettings) -> AsyncIterator[tuple[Service, Service]]:
    """Two services on the same stores, as two workers are."""
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(serving(trained)) for _ in range(2)]
        yield first, second


async def test_another_process_s_changes_are_known_to_the_very_next_answer(two: tuple[Service, Service]) -> None:
    here, there = two
    await new_user(here, "watches")
    await new_user(here, "posts")
    await changed(here, "PUT", "/users/watches/followees/posts", 201)
    assert await offered(there, "watches")  # from discover: "posts" has nothing yet
    before = (await there.client.get("/users/watches/recommendations")).json()
    assert (before["source"], before["degraded"]) != ("followees", False)
    posted = await here.post(png("teal"), author_id="posts", tweet_id="seen-at-once", text="Calm lake.")
    assert posted.status_code == 201
    assert await offered(there, "watches") == {"seen-at-once"}
    await changed(here, "PUT", "/users/watches/hidden/seen-at-once", 201)
    assert "seen-at-once" not in await offered(there, "watches")
    await changed(there, "DELETE", "/users/watches/hidden/seen-at-once", 204)
    assert await offered(here, "watches") == {"seen-at-once"}
    await changed(there, "PUT", "/tweets/seen-at-once/hidden", 204)
    assert "seen-at-once" not in await offered(here, "watches")
    await changed(here, "DELETE", "/tweets/seen-at-once/hidden", 204)
    assert await offered(there, "watches") == {"seen-at-once"}
    await changed(there, "DELETE", "/users/watches/followees/posts", 204)
    assert (await here.client.get("/users/watches/recommendations")).json()["source"] != "followees"
    await changed(here, "PUT", "/users/watches/followees/posts", 201)
    await changed(there, "DELETE", "/tweets/seen-at-once", 204)
    assert "seen-at-once" not in await offered(here, "watches")


async def test_an_answer_s_second_time_reads_nothing_but_the_log(service: Service, reader: str) -> None:
    first = await service.recommended(reader, 100)
    network = service.parts.online.network
    with pytest.MonkeyPatch.context() as patch:
        for store, names in ((network.graph, ("user", "timelines", "recent")), (network._vectors, ("tweets", "users"))):
            for name in names:
                patch.setattr(store, name, None)
        assert await service.recommended(reader, 100) == first


async def test_a_vector_that_changes_changes_the_very_next_score(
    service: Service, network: Network, reader: str
) -> None:
    """The user's or a followee's: written by another process, as after a fold-in."""
    version, dim = service.parts.ingest.models.required().version, service.parts.ingest.models.required().manifest.dim
    store = service.parts.ingest.vectors
    for changes in (reader, min(network.followees[reader])):
        (_, kept_KD), before = await store.users(version, [changes], dim), await service.recommended(reader, 100)
        await store.put_users(version, [changes], np.full((1, dim), 0.5, dtype=np.float16))
        after = await service.recommended(reader, 100)
        assert [item["score"] for item in after] != [item["score"] for item in before]
        await store.forget_user([version], changes)
        assert await service.recommended(reader, 100) not in (before, after)
        await store.put_users(version, [changes], kept_KD)
        assert await service.recommended(reader, 100) == before


async def test_a_lost_log_forgets_everything(service: Service, network: Network, reader: str) -> None:
    """As after FLUSHALL, or where so much was written meanwhile that the log does not reach back."""
    before = await service.recommended(reader, 100)
    graph, namespace = service.parts.ingest.graph, service.settings.redis_namespace
    gone = min(network.followees[reader])
    await graph._home.redis.srem(f"{namespace}:follow:{reader}", gone)  # behind the log's back
    assert await service.recommended(reader, 100) == before
    await graph._home.redis.delete(f"{namespace}:changes")
    assert await service.recommended(reader, 100) != before
    await graph.add_follows([(reader, gone)])
    assert await service.recommended(reader, 100) == before


async def test_the_log_is_bounded_and_says_when_it_does_not_reach_back(trained: StoreSettings) -> None:
    with redis_server(trained) as (url, _):
        async with open_redis(url) as redis:
            graph = OnlineGraph(redis, "log-test")
            log, late = ChangeLog(redis, "log-test"), ChangeLog(redis, "log-test")
            assert await log.changed() == [EVERYTHING]
            assert await late.changed() == [EVERYTHING]
            await graph.add_follows([("u1", "u2")])
            await VectorStore(redis, "log-test").forget_tweet(["v1", "v2"], "t1")
            assert await log.changed() == ["follow:u1", "v:v1:t:t1", "v:v2:t:t1"]
            assert await log.changed() == []
            await graph.add_users(f"u{n}" for n in range(200))
            assert await log.changed() == ["user:*"]
            for _ in range(LOG_LIMIT // 1_000 + 2):
                pipeline = redis.pipeline(transaction=False)
                for _ in range(1_000):
                    pipeline.xadd("log-test:changes", {"keys": "user:x"}, maxlen=LOG_LIMIT, approximate=True)
                await pipeline.execute()
            assert LOG_LIMIT <= await redis.xlen("log-test:changes") <= LOG_LIMIT + 200
            assert await late.changed() == [EVERYTHING]
            await asyncio.gather(log.aclose(), late.aclose())
            await redis.delete("log-test:changes", "log-test:follow:u1", *(f"log-test:user:u{n}" for n in range(200)))


async def test_what_changes_while_it_is_read_is_not_kept(service: Service, author: str) -> None:
    network, model = service.parts.online.network, service.parts.ingest.models.required()
    held = await network.fresh(model)
    held.drop([f"timeline:{author}"])
    graph, read = network.graph, network.graph.timelines
    entry = TimelineEntry("came-meanwhile", author, 10**13)

    async def slowly(*arguments: object) -> object:
        found = await read(*arguments)  # type: ignore[arg-type]
        if not slow.is_set():
            slow.set()
            await graph.add_tweets([entry])
            await network.fresh(model)
        return found

    slow = asyncio.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "timelines", slowly)
        await network.timelines(held, [author], 200)
    (timeline,) = await network.timelines(held, [author], 200)
    await graph.remove_tweet(entry, [author])
    assert held.tweets.ids[timeline.entries[0, 0]] == "came-meanwhile"


async def test_what_is_dropped_while_others_are_read_is_not_taken_for_missing(
    service: Service, reader: str, author: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await service.recommended(reader, 100)
    network = service.parts.online.network
    held = await network.fresh(service.parts.ingest.models.required())
    read, asked = network._vectors.users, []

    async def drops_the_reader(version: str, user_ids: list[str], dim: int) -> object:
        asked.append(user_ids)
        if len(asked) == 1:
            held.users.forget(reader)
        return await read(version, user_ids, dim)

    monkeypatch.setattr(network._vectors, "users", drops_the_reader)
    held.users.forget(author)
    assert await service.recommended(reader, 100) == before
    assert asked == [[author], [reader]]


async def test_what_comes_while_others_are_read_is_known_to_the_next_answer(
    service: Service, network: Network, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A followee without a vector gets one after it was looked for, while another one's is read again."""
    before = await service.recommended(reader, 100)
    model, store = service.parts.ingest.models.required(), service.parts.ingest.vectors
    held = await service.parts.online.network.fresh(model)
    comes, dropped = sorted(network.followees[reader])[:2]
    _, kept_KD = await store.users(model.version, [comes], model.manifest.dim)
    await store.forget_user([model.version], comes)
    read, asked = store.users, []

    async def meanwhile(version: str, user_ids: list[str], dim: int) -> object:
        asked.append(user_ids)
        found = await read(version, user_ids, dim)
        if len(asked) == 1:
            held.users.forget(dropped)
        elif len(asked) == 2:
            await store.put_users(version, [comes], kept_KD)
            await service.parts.online.network.fresh(model)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(service.parts.online.network._vectors, "users", meanwhile)
        assert await service.recommended(reader, 100) != before
    assert asked == [[comes], [dropped]]
    assert await service.recommended(reader, 100) == before


async def test_memory_stays_within_its_bound(trained: StoreSettings, network: Network, reader: str) -> None:
    async with serving(trained, held_mb=1) as service:
        bound = 1_000_000
        service.parts.online.network._most_bytes = 10_000  # less than one user's candidates
        answers = [await service.recommended(reader, 100) for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        service.parts.online.network._most_bytes = bound
        for user in sorted(network.followees):
            await service.recommended(user, 3)
        held = await service.parts.online.network.fresh(service.parts.ingest.models.required())
        assert held.nbytes <= bound


async def test_unknown_users_are_not_kept(service: Service) -> None:
    held = await service.parts.online.network.fresh(service.parts.ingest.models.required())
    views, users = len(held.views), len(held.users)
    for n in range(50):
        assert (await service.client.get(f"/users/nobody-{n}/recommendations")).status_code == 404
    assert (len(held.views), len(held.users)) == (views, users)


async def test_a_look_ends_with_the_service(trained: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits for Redis would find it closed."""
    looks = asyncio.Event()

    async def hangs() -> list[str]:
        looks.set()
        await asyncio.Event().wait()
        return []

    async with serving(trained) as service:
        monkeypatch.setattr(service.parts.online.network._log, "changed", hangs)
        await looks.wait()
    assert not [task for task in asyncio.all_tasks() if "_look" in repr(task.get_coro())]
