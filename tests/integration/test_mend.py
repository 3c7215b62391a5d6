"""A change that ends badly between Redis and SQL: within seconds both say the same again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract import unsure
from contract.rebuild import USERS_AT_A_TIME
from contract.transactions import changing
from service import mend, removal
from service.ingest import Ingest
from tests.agreement import disagreements
from tests.integration.running import Service, changed, new_user, png, problem, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def never_commits(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """As where the process or the database dies right before the commit: Redis has it all."""
    async with changing(engine) as connection:
        yield connection
        raise OperationalError("COMMIT", {}, ConnectionResetError())


async def agrees(service: Service) -> bool:
    return not await disagreements(service.settings)


async def is_settled(service: Service) -> bool:
    redis = service.redis
    return not await redis.zcard(f"{service.settings.redis_namespace}:unsure")


@pytest.fixture
async def tweets(service: Service) -> None:
    """One that is shown, retweeted and hidden by users, and one that is hidden from everybody."""
    for user in ("mends", "mended"):
        await new_user(service, user)
    for tweet in ("mend-shown", "mend-hidden"):
        assert (await service.post(png("plum"), author_id="mended", tweet_id=tweet, text=tweet)).status_code == 201
    await changed(service, "PUT", "/users/mends/followees/mended", 201 if await is_new(service) else 200)
    for url in ("/users/u0001/retweets/mend-shown", "/users/u0002/hidden/mend-shown", "/tweets/mend-hidden/hidden"):
        assert (await service.client.put(url)).status_code in (200, 201, 204)


async def is_new(service: Service) -> bool:
    return not (await service.parts.ingest.graph.user("mends")).followee_ids


@pytest.mark.usefixtures("tweets")
@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("PUT", "/users/u0001/followees/mended"),
        ("DELETE", "/users/mends/followees/mended"),
        ("PUT", "/users/mends/retweets/mend-shown"),
        ("DELETE", "/users/u0001/retweets/mend-shown"),
        ("PUT", "/users/mends/hidden/mend-shown"),
        ("DELETE", "/users/u0002/hidden/mend-shown"),
        ("PUT", "/tweets/mend-shown/hidden"),
        ("DELETE", "/tweets/mend-hidden/hidden"),
        ("DELETE", "/tweets/mend-shown"),
        ("DELETE", "/tweets/mend-hidden"),
    ],
)
async def test_what_sql_did_not_take_is_taken_back(
    service: Service, method: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await disagreements(service.settings) == []
    offered = await service.recommended("mends", 100)
    with monkeypatch.context() as patch:
        for module in (unsure, removal):
            patch.setattr(module, "changing", never_commits)
        monkeypatch.setattr(mend, "_SOON_SECONDS", 60.0)  # not before this test has seen it
        problem(await service.client.request(method, url), 503, "store-unavailable")
    assert await disagreements(service.settings) != []
    monkeypatch.setattr(mend, "_SOON_SECONDS", 0.5)
    await until(lambda: agrees(service), 20)
    assert not await is_settled(service)
    monkeypatch.setattr(mend, "_SETTLED_SECONDS", 0.5)
    await until(lambda: is_settled(service), 20)
    assert await agrees(service)

    async def as_before() -> bool:
        return await service.recommended("mends", 100) == offered

    await until(as_before, 10)  # a vector that was fitted to what was taken back is fitted again


async def test_a_user_whom_sql_did_not_take_is_gone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(unsure, "changing", never_commits)
        monkeypatch.setattr(mend, "_SOON_SECONDS", 60.0)
        problem(await service.client.post("/users", json={"user_id": "half-made"}), 503, "store-unavailable")
    assert (await service.client.get("/users/half-made/recommendations")).status_code == 200
    for name in ("_SOON_SECONDS", "_SETTLED_SECONDS"):
        monkeypatch.setattr(mend, name, 0.5)
    await until(lambda: is_settled(service), 20)
    problem(await service.client.get("/users/half-made/recommendations"), 404, "unknown-user")
    await new_user(service, "half-made")
    assert await disagreements(service.settings) == []


async def test_a_refused_change_leaves_no_doubt(service: Service) -> None:
    problem(await service.client.put("/users/u0001/followees/u0001"), 422, "invalid-change")
    problem(await service.client.put("/users/nobody/followees/u0001"), 404, "unknown-user")
    problem(await service.client.delete("/tweets/none"), 404, "unknown-tweet")
    assert await is_settled(service)


async def test_one_that_cannot_be_mended_holds_up_no_other(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    real = mend.mend_user

    async def fails(connection: AsyncConnection, user_id: str, parts: Ingest) -> None:
        if user_id == "u0001":
            raise RuntimeError("as where a store has rows that cannot be read")
        await real(connection, user_id, parts)

    for name, value in (("mend_user", fails), ("_SOON_SECONDS", 0.2), ("_SETTLED_SECONDS", 0.4)):
        monkeypatch.setattr(mend, name, value)
    redis, key = service.redis, f"{service.settings.redis_namespace}:unsure"
    await redis.zadd(key, {"user:u0001:first": 1, "user:u0002:second": 2})

    async def only_the_first() -> bool:
        return bool(await redis.zrange(key, 0, -1) == [b"user:u0001:first"])

    await until(only_the_first, 10)
    monkeypatch.setattr(mend, "mend_user", real)
    await until(lambda: is_settled(service), 10)


async def test_a_tweet_with_many_retweeters_is_mended_some_at_a_time(service: Service) -> None:
    many = USERS_AT_A_TIME * 2 + 1
    await new_user(service, "popular")
    posted = await service.post(png("gold"), author_id="popular", tweet_id="mend-popular", text="All like it.")
    assert posted.status_code == 201
    users = [await new_user(service, f"fan-{n}") for n in range(many)]
    for user in users:
        await changed(service, "PUT", f"/users/{user}/retweets/mend-popular", 201)
    graph = service.parts.ingest.graph
    for user in users:
        await graph.remove_user(user)
    assert len(await disagreements(service.settings)) > many
    await mend.mend_tweet(service.parts.ingest.database.engine, "mend-popular", service.parts.ingest)
    assert await agrees(service)
