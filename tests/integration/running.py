"""A running service for the HTTP tests, and what they say of its answers."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from redis.asyncio import Redis
from sqlalchemy import select

from contract.environment import StoreSettings
from contract.tables import Tweet, TweetVector, User, create_engine
from service.api.parts import Parts
from service.main import create_app
from service.settings import Settings

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Service:
    """A running service: its parts, a client of it, and SQL beside it."""

    app: FastAPI
    client: httpx.AsyncClient
    settings: Settings

    @property
    def parts(self) -> Parts:
        return cast(Parts, self.app.state.parts)

    @property
    def redis(self) -> Redis:
        """The server's client; on a cluster that of the keys that belong to nobody."""
        return self.parts.ingest.graph._home.redis

    async def sql(self, *columns: Any) -> list[Row]:
        engine = create_engine(self.settings.sqlalchemy_url)
        try:
            async with engine.connect() as connection:
                return [tuple(row) for row in await connection.execute(select(*columns))]
        finally:
            await engine.dispose()

    async def state(self) -> tuple[Any, ...]:
        """What a refused request must leave as it is."""
        users = sorted(user_id for (user_id,) in await self.sql(User.user_id))
        graph = self.parts.ingest.graph
        tweets = sorted(await self.sql(Tweet.tweet_id, Tweet.author_id, Tweet.text, Tweet.image_key))
        vectors = sorted(await self.sql(TweetVector.tweet_id, TweetVector.version))
        return tweets, vectors, await graph.timelines(users), await graph.recent()

    def blobs(self) -> set[str]:
        return {path.name for path in (self.settings.var_dir / "images").rglob("*") if path.is_file()}

    async def post(self, image: bytes | None, **fields: str) -> httpx.Response:
        files = {"image": ("picture", image)} if image is not None else {"other": ("other", b"")}
        return await self.client.post("/tweets", data=fields, files=files)

    async def recommended(self, user_id: str, k: int) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await ask(self, user_id, k=k))["items"]
        return items


@asynccontextmanager
async def serving(stores: StoreSettings, **more: Any) -> AsyncIterator[Service]:
    settings = Settings(**{"host": "127.0.0.1", "api_key": None, "device": "cpu"} | stores.model_dump() | more)
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30) as client,
    ):
        yield Service(app, client, settings)


@dataclass(frozen=True)
class Network:
    """What SQL says of whom."""

    followees: dict[str, set[str]]
    authors: dict[str, str]
    retweeters: dict[str, set[str]]

    def offered(self, user: str) -> set[str]:
        """What followees posted or retweeted, less the user's own and retweeted."""
        sources = self.followees.get(user, set())
        reached = {tweet for tweet, author in self.authors.items() if author in sources}
        reached |= {tweet for tweet, users in self.retweeters.items() if users & sources}
        own = {tweet for tweet, author in self.authors.items() if author == user}
        return reached - own - {tweet for tweet, users in self.retweeters.items() if user in users}


async def new_user(service: Service, user_id: str) -> str:
    answer = await service.client.post("/users", json={"user_id": user_id})
    assert answer.status_code in (200, 201), answer.text
    return user_id


async def ask(service: Service, user_id: str, **parameters: Any) -> dict[str, Any]:
    answer = await service.client.get(f"/users/{user_id}/recommendations", params=parameters)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def answer(service: Service, user: str) -> dict[str, Any]:
    """Ten recommendations, as they are; but for the cursor, which has the time in it."""
    body = await ask(service, user, k=10)
    del body["next_cursor"]
    return body


async def offered(service: Service, user_id: str) -> set[str]:
    return {item["tweet_id"] for item in await service.recommended(user_id, 100)}


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """Wait for it, and say how long it took."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def changed(service: Service, method: str, url: str, status: int, **more: Any) -> httpx.Response:
    answer = await service.client.request(method, url, **more)
    assert answer.status_code == status, answer.text
    return answer


def png(colour: str = "red", size: tuple[int, int] = (40, 30)) -> bytes:
    return saved(Image.new("RGB", size, colour), "PNG")


def saved(image: Image.Image, format_: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_)
    return buffer.getvalue()


def problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Checks the form of an error; returns its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["type"], body["status"]) == (f"/problems/{slug}", status)
    assert body["title"]
    assert body["detail"]
    return body


def fields(body: dict[str, Any]) -> list[str]:
    return [error["field"] for error in body["errors"]]


def named(stores: StoreSettings, patch: pytest.MonkeyPatch) -> None:
    """Have this process's environment name the stores, as a command reads it."""
    for name, value in stores.model_dump().items():
        patch.delenv(name.upper(), raising=False)
        if value is not None:
            patch.setenv(name.upper(), str(value))
