"""A store that is cut off, hangs, is slow, full or read-only: what reads and writes answer, and what is there after."""

import asyncio
import errno
import os
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import make_url

from contract.embedded import open_redis, redis_server
from contract.environment import StoreSettings
from contract.runtime import OnnxModel
from contract.tables import Tweet
from service import deadline, ingest
from service.api import health
from tests.conftest import copied_stores
from tests.databases import Administered, owned_by_a_user
from tests.integration.running import Service, answer, png, problem, serving, until
from tests.proxy import Proxy, place_of, proxy_to

pytestmark = pytest.mark.anyio
USERS = [f"u{n:04}" for n in range(1, 41)]
HELD, OTHERS = USERS[:10], USERS[10:]
"""Those whom the service answered before the outage, and those whom it did not."""
LISTS = ("/users", "/users/u0001", "/users/u0001/followees", "/users/u0001/followers", "/tweets?tweet_id=t0001")
"""What SQL alone knows."""


@dataclass(frozen=True)
class Cut:
    """A service whose Redis or database is behind a proxy, and what it should answer."""

    service: Service
    proxy: Proxy
    expected: dict[str, Any]
    administered: Administered | None = None


async def whole(service: Service) -> bool:
    return (
        bool((await service.client.get("/health/ready")).json()["redis"] == "ok") and service.parts.online.network.whole
    )


@asynccontextmanager
async def behind(stores: StoreSettings, proxy: Proxy, **through: str) -> AsyncIterator[Cut]:
    async with serving(stores) as other:
        expected = {user: await answer(other, user) for user in USERS}
    async with serving(stores.model_copy(update=through)) as service:
        for user in HELD:
            assert await answer(service, user) == expected[user]
        yield Cut(service, proxy, expected)
        proxy.heal()
        await until(lambda: whole(service), 10)


@pytest.fixture
async def redis(trained: StoreSettings) -> AsyncIterator[Cut]:
    """Redis is behind the proxy."""
    with redis_server(trained) as (url, _):
        async with (
            proxy_to(place_of(url, 6379)) as proxy,
            behind(trained, proxy, redis_url=f"redis://127.0.0.1:{proxy.port}/0") as cut,
        ):
            yield cut


@pytest.fixture(scope="module")
def servers(trained_servers: StoreSettings) -> Iterator[StoreSettings]:
    with copied_stores(trained_servers) as stores:
        yield stores


@pytest.fixture(scope="module")
def embedded(trained_embedded: StoreSettings) -> Iterator[StoreSettings]:
    with copied_stores(trained_embedded) as stores:
        yield stores


@pytest.fixture
async def database(servers: StoreSettings) -> AsyncIterator[Cut]:
    """PostgreSQL is behind the proxy, and used by one who is no superuser."""
    url = servers.database_url or ""
    with owned_by_a_user(url) as owner:
        place = make_url(url)
        async with proxy_to((place.host or "127.0.0.1", place.port or 5432)) as proxy:
            through = place.set(host="127.0.0.1", port=proxy.port, username=owner, password=owner)
            async with behind(servers, proxy, database_url=through.render_as_string(hide_password=False)) as cut:
                yield replace(cut, administered=Administered(url))


async def refused(service: Service, *, within: float, slug: str = "store-unavailable") -> None:
    """Whoever wants to change something is told so in time, and nothing is changed."""
    started = time.monotonic()
    answers = await asyncio.gather(
        service.client.put("/users/u0001/followees/u0040"),
        service.client.delete("/users/u0001/followees/u0002"),
        service.client.post("/users", json={"user_id": "joins"}),
        service.client.put("/users/u0001/hidden/t0001"),
    )
    assert time.monotonic() - started < within
    for one in answers:
        problem(one, 503, slug)
        assert int(one.headers["retry-after"]) > 0


async def post(service: Service, tweet_id: str) -> httpx.Response:
    return await service.post(png("teal", (50, 41)), author_id="u0002", tweet_id=tweet_id, text="Calm lake.")


def new_id() -> str:
    """Of a tweet: a deleted one's is taken for good."""
    return uuid.uuid4().hex


async def is_ready(service: Service, tweet_id: str) -> bool:
    answered = await service.client.get(f"/tweets/{tweet_id}")
    return answered.status_code == 200 and answered.json()["status"] == "ready"


async def removed(service: Service, tweet_id: str) -> None:
    assert (await service.client.delete(f"/tweets/{tweet_id}")).status_code == 204


def same_but_degraded(body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body["degraded"]
    assert body["missing"][0] == "online_network"
    assert without(body) == without(expected)


def without(body: dict[str, Any]) -> dict[str, Any]:
    """What an outage must not change. Scores are of fp16 vectors, the same ones wherever they are read."""
    return {name: value for name, value in body.items() if name not in ("degraded", "missing")}


def cut_off(proxy: Proxy) -> None:
    proxy.cut()


def hang(proxy: Proxy) -> None:
    proxy.stall()


@pytest.mark.parametrize("fault", [cut_off, hang])
async def test_reads_go_on_without_redis_and_changes_are_refused(redis: Cut, fault: Callable[[Proxy], None]) -> None:
    service = redis.service
    state = await service.state()
    fault(redis.proxy)
    started = time.monotonic()
    same_but_degraded(await answer(service, HELD[0]), redis.expected[HELD[0]])
    assert time.monotonic() - started < 5
    started = time.monotonic()
    for user in USERS:
        same_but_degraded(await answer(service, user), redis.expected[user])
    assert (time.monotonic() - started) / len(USERS) < 0.5
    similar = await service.client.get("/tweets/t0001/similar")
    assert (similar.status_code, similar.json()["degraded"], len(similar.json()["items"])) == (200, True, 10)
    problem(await service.client.get("/users/nobody/recommendations"), 404, "unknown-user")
    ready = await service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["redis"]) == (200, "does not answer: reads go on without it")
    assert b"redis_away 1.0" in (await service.client.get("/metrics")).content
    await refused(service, within=8)
    tweet_id = new_id()
    posted = await post(service, tweet_id)
    assert (posted.status_code, posted.json()["status"]) == (202, "pending")
    redis.proxy.heal()
    assert await until(lambda: whole(service), 10) < 10
    await until(lambda: is_ready(service, tweet_id), 20)
    await removed(service, tweet_id)
    assert {user: await answer(service, user) for user in USERS} == redis.expected
    assert await service.state() == state


async def test_a_slow_redis_is_waited_for(redis: Cut) -> None:
    redis.proxy.delay_seconds = 0.05
    for user in USERS[8:12]:
        assert await answer(redis.service, user) == redis.expected[user]
    tweet_id = new_id()
    assert (await post(redis.service, tweet_id)).status_code == 201
    await removed(redis.service, tweet_id)


async def test_connections_that_are_reset_now_and_then_are_noticed_by_nobody(redis: Cut) -> None:
    async def resets() -> None:
        while True:
            await asyncio.sleep(0.15)
            redis.proxy.reset()

    task = asyncio.create_task(resets())
    try:
        for user in USERS * 3:
            assert without(await answer(redis.service, user)) == without(redis.expected[user])
            await asyncio.sleep(0.005)
    finally:
        task.cancel()


async def test_a_full_redis_goes_on_being_read(embedded: StoreSettings) -> None:
    async with serving(embedded) as service:
        expected = {user: await answer(service, user) for user in USERS}
        state = await service.state()
        with redis_server(embedded) as (url, _):
            async with open_redis(url) as client:
                await client.config_set("maxmemory", 1)
                try:
                    for user in USERS:
                        assert await answer(service, user) == expected[user]
                    await refused(service, within=3)
                    assert (await post(service, "while-full")).status_code == 202
                finally:
                    await client.config_set("maxmemory", 0)
        await until(lambda: is_ready(service, "while-full"), 20)
        await removed(service, "while-full")
        assert await service.state() == state


async def test_reads_go_on_without_the_database(database: Cut) -> None:
    service = database.service
    database.proxy.cut()
    for user in USERS:
        assert await answer(service, user) == database.expected[user]
    ready = await service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["database"]) == (200, "does not answer: reads go on without it")
    await refused(service, within=8)
    problem(await post(service, "without-sql"), 503, "store-unavailable")
    for url in ("/users/nobody/recommendations", *LISTS):
        problem(await service.client.get(url), 503, "store-unavailable")
    assert not list((service.settings.var_dir / "images" / ".partial").iterdir())
    database.proxy.heal()
    await until(lambda: works_again(service), 10)


async def works_again(service: Service) -> bool:
    """Whether changes are made again."""
    made = await service.client.put("/users/u0001/hidden/t0001")
    if made.status_code == 503:
        return False
    assert made.status_code in (200, 201)
    return (await service.client.delete("/users/u0001/hidden/t0001")).status_code == 204


async def test_a_database_that_hangs_is_waited_for_no_longer_than_a_request_may_take(
    database: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "WRITE_SECONDS", 2.0)
    database.proxy.stall()
    for user in USERS:
        assert await answer(database.service, user) == database.expected[user]
    started = time.monotonic()
    ready = await database.service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["database"]) == (200, "does not answer: reads go on without it")
    assert time.monotonic() - started < 2
    await refused(database.service, within=4, slug="took-too-long")
    for user in USERS:
        assert await answer(database.service, user) == database.expected[user]
    database.proxy.heal()
    await until(lambda: works_again(database.service), 20)


@pytest.mark.parametrize("state", ["read_only", "full_up"])
async def test_a_database_that_is_read_only_or_takes_no_connections(database: Cut, state: str) -> None:
    service = database.service
    with getattr(database.administered, state)():
        for user in USERS:
            assert await answer(service, user) == database.expected[user]
        await refused(service, within=8)
        problem(await post(service, "not-taken"), 503, "store-unavailable")
    await until(lambda: works_again(service), 10)
    assert ("not-taken",) not in await service.sql(Tweet.tweet_id)


async def test_a_full_store_of_pictures_takes_nothing_and_keeps_no_part(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    state, blobs = await service.state(), service.blobs()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        problem(await post(service, "no-room"), 503, "store-unavailable")
        assert (await service.client.get("/users/u0001/recommendations")).status_code == 200
    assert (await service.state(), service.blobs()) == (state, blobs)
    assert (await post(service, "no-room")).status_code == 201
    await removed(service, "no-room")


async def test_an_encoder_that_hangs_holds_up_nobody(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    encode = OnnxModel.encode

    def hangs(model: OnnxModel, *inputs: Any) -> Any:
        gate.wait(30)
        return encode(model, *inputs)

    state = await service.state()
    tweet_ids = [new_id() for _ in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(OnnxModel, "encode", hangs)
        patch.setattr(ingest, "ENCODE_SECONDS", 2.0)
        patch.setattr(health, "HANGS_SECONDS", 2.5)
        for n, tweet_id in enumerate(tweet_ids):
            started = time.monotonic()
            assert (await post(service, tweet_id)).status_code == 202
            assert n == 0 or time.monotonic() - started < 1.5
        assert (await service.client.get("/users/u0001/recommendations")).status_code == 200
        await asyncio.sleep(1)
        live = await service.client.get("/health/live")
        assert (live.status_code, live.json()) == (503, {"status": "hangs"})
        gate.set()
    for tweet_id in tweet_ids:
        await until(lambda tweet_id=tweet_id: is_ready(service, tweet_id), 20)  # type: ignore[misc]
        await removed(service, tweet_id)
    assert (await service.client.get("/health/live")).status_code == 200
    assert await service.state() == state


class Lost:
    """The session of a GPU that fell off the bus."""

    def run(self, *_: object) -> None:
        raise RuntimeError("CUDA failure 999: unknown error")


async def test_the_cpu_stands_in_for_a_gpu_that_is_lost(service: Service) -> None:
    model = service.parts.ingest.models.required().onnx
    model.device, model._encoder = "cuda", Lost()
    tweet_id = new_id()
    posted = await post(service, tweet_id)
    assert (posted.status_code, posted.json()["status"]) == (201, "ready")
    assert (await service.client.get("/health/ready")).json()["device"] == "cpu"
    await removed(service, tweet_id)


async def test_what_no_device_can_encode_leaves_the_gpu_where_it_is(service: Service) -> None:
    model = service.parts.ingest.models.required().onnx
    session, lost = model._encoder, Lost()
    model.device, model._encoder = "cuda", lost
    with pytest.raises(Exception, match=r"(?i)invalid"):
        model.encode(np.zeros((1, 3, 3, 3), dtype=np.uint8), np.zeros((1, 1, 16), dtype=np.int64))
    assert (model.device, model._encoder) == ("cuda", lost)
    model.device, model._encoder = "cpu", session


async def test_what_a_killed_process_was_writing_is_swept(service: Service) -> None:
    blobs = service.parts.ingest.pictures.blobs
    folder = service.settings.var_dir / "images" / ".partial"
    (folder / "at-work").write_bytes(b"half")
    (folder / "abandoned").write_bytes(b"half")
    os.utime(folder / "abandoned", (0, 0))
    assert blobs.sweep() == 1
    assert [path.name for path in folder.iterdir()] == ["at-work"]
    (folder / "at-work").unlink()
