"""Redis loses everything under load, on two processes: answers go on, say so, and are whole again by themselves."""

import asyncio
import itertools
import logging
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from contract.embedded import redis_server
from contract.environment import StoreSettings
from tests.conftest import KINDS, trained_stores
from tests.integration.running import png
from tests.load import Answer, ask, at_work
from tests.processes import two_services

log = logging.getLogger(__name__)

READERS, WRITERS = 3, 2
USERS = [f"u{n:04}" for n in range(1, 61)]
READ_BEFORE = USERS[:30]
"""Of whom both processes hold everything when it is lost; of the others one holds nothing."""
WITHIN_SECONDS = 60.0
OWN_DATABASE = 11
"""Of the Redis server, which other tests use meanwhile: it is emptied."""


@pytest.fixture(scope="module", params=KINDS)
def stores(request: pytest.FixtureRequest, tiny_network: Path) -> Iterator[StoreSettings]:
    """With two versions. The Redis server's part is empty: services that find that write everything themselves."""
    with trained_stores(request.param, tiny_network, versions=2) as settings:
        if settings.redis_url is None:
            yield settings
            return
        settings = settings.model_copy(update={"redis_url": f"{settings.redis_url.rpartition('/')[0]}/{OWN_DATABASE}"})
        lose_everything(settings)
        yield settings
        lose_everything(settings)


@pytest.fixture(scope="module")
def urls(stores: StoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Of two processes on the same stores."""
    with two_services(stores, tmp_path_factory.mktemp("logs")) as started:
        yield started


def lose_everything(stores: StoreSettings) -> None:
    """FLUSHALL; FLUSHDB where others use the server."""
    with redis_server(stores) as (url, _), redis.Redis.from_url(url) as client:
        client.flushall() if stores.redis_url is None else client.flushdb()


@dataclass
class Load:
    """Readers and writers at work, and what they saw."""

    clients: list[httpx.AsyncClient]
    expected: dict[str, Answer]
    whole: int = 0
    degraded: int = 0
    empty: int = 0
    posted: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def read(self, users: list[str]) -> None:
        """An answer is all that it should be, or says what is missing."""
        users = [user for user in users if user in self.expected]
        for n in itertools.count():
            user = users[n % len(users)]
            answer = await ask(self.clients[n % 2], user)
            if answer["degraded"] and answer != self.expected[user]:
                assert answer["missing"][0] == "online_network", answer
                assert answer["items"] or user not in READ_BEFORE, user
                self.degraded += 1
                self.empty += not answer["items"]
            else:
                assert answer == self.expected[user], user
                self.whole += 1

    async def write(self) -> None:
        for n in itertools.count():
            tweet_id = f"posted-{next(self.numbers)}"
            form = {"author_id": "writes", "tweet_id": tweet_id, "text": f"Number {n}. #lost"}
            client = self.clients[n % 2]
            answer = await client.post("/tweets", data=form, files={"image": png("teal", (30 + n % 50, 40))})
            assert answer.status_code in (201, 202), answer.text
            self.posted.append(tweet_id)
            joined = await client.post("/users", json={"user_id": f"joined-{tweet_id}"})
            followed = await client.put(f"/users/joined-{tweet_id}/followees/writes")
            assert (joined.status_code, followed.status_code) == (201, 201)
            await asyncio.sleep(0.2)


async def after(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    await asyncio.sleep(seconds)
    await work


async def whole(clients: list[httpx.AsyncClient]) -> float:
    """Wait until Redis has everything again, and say how long it took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for client in clients:
        while (answer := await client.get("/health/ready")).json()["redis"] != "ok":
            assert answer.status_code == 200, answer.text
            assert loop.time() - started < WITHIN_SECONDS
            await asyncio.sleep(0.05)
    return loop.time() - started


async def folded_in(clients: list[httpx.AsyncClient]) -> None:
    """Wait until a user whom the model was not trained on has a vector, which comes a moment after the rest."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for client in clients:
        while not (await ask(client, "folds"))["folded_in"]:
            assert loop.time() - started < WITHIN_SECONDS
            await asyncio.sleep(0.05)


async def lose_under_load(urls: list[str], stores: StoreSettings) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30)) for url in urls]
        await whole(clients)
        assert (await clients[0].post("/users", json={"user_id": "writes"})).status_code == 201
        assert (await clients[0].post("/users", json={"user_id": "folds"})).status_code == 201
        assert (await clients[0].put("/users/folds/followees/u0001")).status_code == 201
        assert (await clients[0].put("/users/folds/retweets/t0001")).status_code == 201
        await folded_in(clients)
        similar = (await clients[0].get("/tweets/t0001/similar")).json()
        expected = {user: await ask(clients[0], user) for user in USERS}
        expected |= {user: await ask(clients[1], user) for user in READ_BEFORE}
        expected = {user: answer for user, answer in expected.items() if answer["source"] == "followees"}
        assert len(expected) > 20
        load, seconds = Load(clients, expected), []
        readers = [load.read(READ_BEFORE) for _ in range(READERS)]
        later = after(1, load.read(USERS[30:]))
        async with at_work(*readers, *(load.write() for _ in range(WRITERS)), later):
            await asyncio.sleep(1.5)
            for pause in (1.0, 0.1, 1.0):  # the second one while everything is being written
                await asyncio.to_thread(lose_everything, stores)
                await asyncio.sleep(pause)
                response = await clients[0].get("/tweets/t0001/similar")
                assert response.status_code == 200, response.text
                if pause == 1.0:
                    seconds.append(await whole(clients))
                    await asyncio.sleep(1)
        log.warning(
            "whole after %s s; %d answers whole, %d degraded, %d of them empty; %d tweets",
            seconds,
            load.whole,
            load.degraded,
            load.empty,
            len(load.posted),
        )
        assert load.degraded > 0
        assert len(load.posted) > 10
        await folded_in(clients)
        for client in clients:
            for user, answer in expected.items():
                assert await ask(client, user) == answer, user
            for tweet_id in load.posted:
                answer = await ask(client, f"joined-{tweet_id}", k=100)
                assert {item["tweet_id"] for item in answer["items"]} >= set(load.posted), tweet_id
        assert similar["items"]
        assert (await clients[0].post("/models:rollback")).status_code == 200


def test_redis_loses_everything_under_load(urls: list[str], stores: StoreSettings) -> None:
    asyncio.run(lose_under_load(urls, stores))
