"""GET /ops/state: what an operator's page is told, also where a store is away."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, make_url

from contract.embedded import redis_server
from contract.environment import StoreSettings
from contract.tables import Retweet, Tweet
from contract.waiting import now_ms
from service import census
from tests.conftest import copied_stores
from tests.integration.running import Network, Service, changed, png, problem, serving, until
from tests.proxy import Proxy, place_of, proxy_to

pytestmark = pytest.mark.anyio
AWAY = {"state": "does not answer: reads go on without it", "seconds": None}


async def state(service: Service) -> dict[str, Any]:
    async with asyncio.timeout(10):
        answer = await service.client.get("/ops/state")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def of_kind(told: dict[str, Any], kind: str) -> dict[str, Any]:
    none = {"answered": 0, "refused": 0, "failed": 0, "seconds": {"count": 0, "buckets": []}}
    return next((one for one in told["process"]["requests"] if one["kind"] == kind), none)


async def test_what_a_process_did_is_told(service: Service, reader: str, author: str) -> None:
    before = await state(service)
    for _ in range(3):
        await service.recommended(reader, 3)
    assert (await service.post(png("tan"), author_id=author)).status_code == 201
    problem(await service.post(b"no picture", author_id=author), 422, "image-unreadable")
    problem(await service.client.get("/nowhere"), 404, "not-found")
    after = await state(service)

    def grown(kind: str) -> tuple[int, ...]:
        of = [of_kind(told, kind) for told in (before, after)]
        return tuple(of[1][end] - of[0][end] for end in ("answered", "refused", "failed"))

    assert grown("recommend") == (3, 0, 0)
    assert grown("post") == (1, 1, 0)
    assert grown("unmatched") == (0, 1, 0)
    assert grown("operate") == (1, 0, 0)
    seconds = of_kind(after, "recommend")["seconds"]
    assert sum(bucket["count"] for bucket in seconds["buckets"]) == seconds["count"]
    assert 0 < seconds["p50"] <= seconds["p99"]
    one, other = (told["process"]["encoder"] for told in (before, after))
    for name in ("batch_sizes", "batch_seconds", "queue_seconds"):
        assert other[name]["count"] == one[name]["count"] + 1
    assert other["batch_sizes"]["buckets"][0]["count"] == one["batch_sizes"]["buckets"][0]["count"] + 1
    answers = {(one["source"], one["degraded"]): one["count"] for one in after["process"]["answers"]}
    assert answers["followees", False] >= 3
    assert after["process"]["started_at"] == before["process"]["started_at"]
    assert after["process"]["uptime_seconds"] > before["process"]["uptime_seconds"] > 0
    assert after["process"]["held_limit_bytes"] == 512_000_000
    assert 0 < after["process"]["held_bytes"] < after["process"]["held_limit_bytes"]
    assert (after["status"], after["process"]["device"]) == ("ready", "cpu")
    for store in ("redis", "database"):
        assert after[store]["state"] == "ok"
        assert after[store]["seconds"] > 0


async def test_tweets_in_work_and_shed_are_told(trained: StoreSettings) -> None:
    async with serving(trained, queue_size=2) as service:
        assert (await state(service))["process"]["shed"] == []
        with service.parts.ingest.batcher.permit(), service.parts.ingest.batcher.permit():
            problem(await service.post(png(), author_id="u0001"), 429, "overloaded")
            told = (await state(service))["process"]
        assert told["queue"] == {"in_work": 2, "size": 2}
        assert told["shed"] == [{"limit": "tweets", "count": 1}]
        assert (await state(service))["process"]["queue"]["in_work"] == 0


async def test_how_fresh_the_model_is(
    service: Service, network: Network, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "APART_SECONDS", 0.0)
    manifest = service.parts.ingest.models.required().manifest
    model = (await state(service))["freshness"]["model"]
    assert model["version"] == manifest.version
    assert datetime.fromisoformat(model["trained_until"]) == manifest.judged_from
    assert datetime.fromisoformat(model["newest_retweet_at"]) == manifest.data.last_retweet_at
    assert datetime.fromisoformat(model["newest_tweet_at"]) == manifest.data.last_tweet_at
    age = datetime.now(UTC) - manifest.created_at
    assert model["age_seconds"] == pytest.approx(age.total_seconds(), abs=60)

    tweet = min(network.offered(reader))
    now = datetime.now(UTC) + timedelta(minutes=1)
    await changed(service, "PUT", f"/users/{reader}/retweets/{tweet}", 201, json={"created_at": now.isoformat()})
    stored = (await state(service))["freshness"]["stored"]
    assert datetime.fromisoformat(stored["newest_retweet_at"]) == now > manifest.data.last_retweet_at
    ((newest,),) = await service.sql(func.max(Tweet.created_at))
    assert datetime.fromisoformat(stored["newest_tweet_at"]) == newest
    await changed(service, "DELETE", f"/users/{reader}/retweets/{tweet}", 204)
    ((newest,),) = await service.sql(func.max(Retweet.created_at))
    stored = (await state(service))["freshness"]["stored"]
    assert datetime.fromisoformat(stored["newest_retweet_at"]) == newest < now


async def test_tweets_without_a_vector_are_counted(
    service: Service, author: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "APART_SECONDS", 0.0)
    before = (await state(service))["freshness"]["stored"]["pending_tweets"]
    id_, engine = uuid.uuid4().hex, service.parts.ingest.database.engine
    row = {"tweet_id": id_, "author_id": author, "text": "", "image_key": "0" * 64, "created_at": datetime.now(UTC)}
    async with engine.begin() as connection:
        await connection.execute(insert(Tweet).values(**row))
    try:
        assert (await state(service))["freshness"]["stored"]["pending_tweets"] == before + 1
    finally:
        async with engine.begin() as connection:
            await connection.execute(delete(Tweet).where(Tweet.tweet_id == id_))
    assert (await state(service))["freshness"]["stored"]["pending_tweets"] == before


async def test_sql_is_counted_seldom_and_once_for_all_who_ask(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, newest = 0, service.parts.ingest.database.newest

    async def counting() -> Any:
        nonlocal asked
        asked += 1
        return await newest()

    monkeypatch.setattr(type(service.parts.ingest.database), "newest", lambda _: counting())
    told = await asyncio.gather(*(state(service) for _ in range(20)))
    assert asked == 1
    assert len({one["freshness"]["stored"]["counted_at"] for one in told}) == 1


async def test_users_who_wait_are_counted(service: Service) -> None:
    waiting = service.parts.ingest.fold_ins._waiting
    before = (await state(service))["freshness"]["waiting_users"]
    await waiting.add(["one", "another"], now_ms() + 3_600_000)
    assert (await state(service))["freshness"]["waiting_users"] == before + 2
    for user in ("one", "another"):
        await waiting.take(user)


async def test_that_redis_was_written_anew_is_told(trained: StoreSettings) -> None:
    async with serving(trained) as service:
        assert (await state(service))["freshness"]["redis_written_at"] is None
        began = datetime.now(UTC)
        await changed(service, "POST", "/models:rebuild-redis", 202)

        async def written() -> bool:
            return (await state(service))["freshness"]["redis_written_at"] is not None

        await until(written, 20)
        at = datetime.fromisoformat((await state(service))["freshness"]["redis_written_at"])
        assert began < at <= datetime.now(UTC)


async def test_without_a_model_it_is_told(stores: StoreSettings) -> None:
    async with serving(stores) as service:
        told = await state(service)
    assert (told["status"], told["process"]["device"], told["freshness"]["model"]) == ("not ready", "none", None)
    stored = told["freshness"]["stored"]
    assert (stored["newest_retweet_at"], stored["newest_tweet_at"], stored["pending_tweets"]) == (None, None, None)


def cut_off(proxy: Proxy) -> None:
    proxy.cut()


def hang(proxy: Proxy) -> None:
    proxy.stall()


@pytest.fixture(scope="module")
def servers(trained_servers: StoreSettings) -> Iterator[StoreSettings]:
    with copied_stores(trained_servers) as stores:
        yield stores


FAULTS = pytest.mark.parametrize("fault", [cut_off, hang])


@FAULTS
async def test_it_answers_without_redis(trained: StoreSettings, fault: Callable[[Proxy], None]) -> None:
    with redis_server(trained) as (url, _):
        async with proxy_to(place_of(url, 6379)) as proxy:
            through = trained.model_copy(update={"redis_url": f"redis://127.0.0.1:{proxy.port}/0"})
            async with serving(through) as service:
                fault(proxy)
                told = await state(service)
                assert (told["redis"], told["freshness"]["waiting_users"]) == (AWAY, None)
                assert (told["status"], told["database"]["state"]) == ("ready", "ok")
                assert told["freshness"]["stored"]["newest_retweet_at"]
                await service.recommended("u0001", 3)
                assert of_kind(await state(service), "recommend")["answered"] == 1
                proxy.heal()


@FAULTS
async def test_it_answers_without_the_database(
    servers: StoreSettings, fault: Callable[[Proxy], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "APART_SECONDS", 0.0)
    place = make_url(servers.database_url or "")
    async with proxy_to((place.host or "127.0.0.1", place.port or 5432)) as proxy:
        url = place.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        async with serving(servers.model_copy(update={"database_url": url})) as service:
            counted = (await state(service))["freshness"]["stored"]
            fault(proxy)
            told = await state(service)
            assert (told["database"], told["freshness"]["stored"]) == (AWAY, counted)
            assert (told["status"], told["redis"]["state"]) == ("ready", "ok")
            assert told["freshness"]["waiting_users"] is not None
            proxy.heal()
