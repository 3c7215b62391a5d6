"""A change that ends badly between Redis and SQL: within seconds both say the same again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract import unsure
from contract.transactions import changing
from tests.agreement import disagreements
from tests.integration.running import Service, changed, new_user, png, problem, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def never_commits(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """As where the process or the database dies right before the commit: Redis has it all."""
    async with changing(engine) as connection:
        yield connection
        raise OperationalError("COMMIT", {}, ConnectionResetError())


async def is_settled(service: Service) -> bool:
    redis = service.parts.ingest.graph._redis
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
        patch.setattr(unsure, "changing", never_commits)
        problem(await service.client.request(method, url), 503, "store-unavailable")
    assert await disagreements(service.settings) != []
    await until(lambda: is_settled(service), 10)
    assert await disagreements(service.settings) == []

    async def as_before() -> bool:
        return await service.recommended("mends", 100) == offered

    await until(as_before, 10)  # a vector that was fitted to what was taken back is fitted again


async def test_a_user_whom_sql_did_not_take_is_gone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(unsure, "changing", never_commits)
        problem(await service.client.post("/users", json={"user_id": "half-made"}), 503, "store-unavailable")
    assert (await service.client.get("/users/half-made/recommendations")).status_code == 200
    await until(lambda: is_settled(service), 10)
    problem(await service.client.get("/users/half-made/recommendations"), 404, "unknown-user")
    await new_user(service, "half-made")
    assert await disagreements(service.settings) == []


async def test_a_refused_change_leaves_no_doubt(service: Service) -> None:
    problem(await service.client.put("/users/u0001/followees/u0001"), 422, "invalid-change")
    problem(await service.client.put("/users/nobody/followees/u0001"), 404, "unknown-user")
    problem(await service.client.delete("/tweets/none"), 404, "unknown-tweet")
    assert await is_settled(service)
