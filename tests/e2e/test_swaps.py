"""Ten swaps in a row under reads and writes on two processes: nobody notices."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.environment import StoreSettings
from tests.conftest import KINDS, trained_stores
from tests.integration.running import png
from tests.load import Answer, ask, at_work
from tests.processes import two_services

log = logging.getLogger(__name__)

SWAPS = 10
READERS, WRITERS = 4, 2
MOST_POSTED = 190
"""A timeline keeps 200."""
USERS = [f"u{n:04}" for n in range(1, 61)]
WITHIN_SECONDS = 5.0
"""In which every process serves the new version: a second on a quiet machine. The log says how long it took."""


@pytest.fixture(scope="module", params=KINDS)
def stores(request: pytest.FixtureRequest, tiny_network: Path) -> Iterator[StoreSettings]:
    """With two versions."""
    with trained_stores(request.param, tiny_network, versions=2) as settings:
        yield settings


@pytest.fixture(scope="module")
def urls(stores: StoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Of two processes on the same stores."""
    with two_services(stores, tmp_path_factory.mktemp("logs")) as started:
        yield started


@dataclass
class Load:
    """Readers and writers at work, and what they saw."""

    clients: list[httpx.AsyncClient]
    expected: dict[str, dict[str, Answer]]
    seen: dict[str, int] = field(default_factory=dict)
    posted: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def read(self) -> None:
        """Whatever version answers, all of the answer is that version's."""
        users = sorted(self.expected[min(self.expected)])
        for n in itertools.count():
            user = users[n % len(users)]
            answer = await ask(self.clients[n % 2], user)
            version = answer["version"]
            assert answer == self.expected[version][user], (version, user)
            self.seen[version] = self.seen.get(version, 0) + 1

    async def write(self) -> None:
        for n in range(MOST_POSTED // WRITERS):
            tweet_id = f"swapped-{next(self.numbers)}"
            form = {"author_id": "writes", "tweet_id": tweet_id, "text": f"Number {n}. #swap"}
            files = {"image": png("teal", (30 + n % 50, 40))}
            answer = await self.clients[n % 2].post("/tweets", data=form, files=files)
            assert answer.status_code in (201, 202), answer.text
            self.posted.append(tweet_id)
            await asyncio.sleep(0.2)


async def all_serve(clients: list[httpx.AsyncClient], version: str) -> float:
    """How long it takes."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for client in clients:
        while (await ask(client, USERS[0]))["version"] != version:
            assert loop.time() - started < WITHIN_SECONDS, f"not within {WITHIN_SECONDS} s"
            await asyncio.sleep(0.02)
    return loop.time() - started


async def swap_under_load(urls: list[str]) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30)) for url in urls]
        versions = [model["version"] for model in (await clients[0].get("/models")).json()["models"]]
        expected: dict[str, dict[str, Answer]] = {}
        for version in reversed(versions):
            assert (await clients[0].post(f"/models/{version}:activate")).status_code == 200
            await all_serve(clients, version)
            answers = {user: await ask(clients[0], user) for user in USERS}
            expected[version] = {user: one for user, one in answers.items() if one["source"] == "followees"}
        assert len(expected[versions[0]]) > 20
        for made in ("writes", "watches"):
            assert (await clients[0].post("/users", json={"user_id": made})).status_code == 201
        assert (await clients[0].put("/users/watches/followees/writes")).status_code == 201
        load, seconds = Load(clients, expected), []
        async with at_work(*(load.read() for _ in range(READERS)), *(load.write() for _ in range(WRITERS))):
            await asyncio.sleep(0.5)
            for n in range(SWAPS):
                to = versions[(n + 1) % 2]
                url = f"/models/{to}:activate" if n % 4 < 2 else "/models:rollback"
                answer = await clients[n % 2].post(url)
                assert (answer.status_code, answer.json().get("active")) == (200, to), answer.text
                seconds.append(await all_serve(clients, to))
                await asyncio.sleep(0.3)
        log.warning(
            "%d swaps, at most %.2f s until all serve; answers %s; %d tweets",
            SWAPS,
            max(seconds),
            load.seen,
            len(load.posted),
        )
        assert set(load.seen) == set(versions)
        assert len(load.posted) > SWAPS
        for to in (*versions, versions[0]):
            assert (await clients[0].post(f"/models/{to}:activate")).status_code == 200
            for client in clients:
                await offered(client, to, set(load.posted))


async def offered(client: httpx.AsyncClient, version: str, tweet_ids: set[str]) -> None:
    """Wait until all are recommended by a version, on some page."""
    for _ in range(200):
        pages = [page async for page in all_pages(client, "watches")]
        missing = tweet_ids - {item["tweet_id"] for page in pages for item in page["items"]}
        if {page["version"] for page in pages} == {version} and not missing:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{pages[0]['version']}: {len(missing)} of {len(tweet_ids)} tweets are not recommended")


async def all_pages(client: httpx.AsyncClient, user: str) -> AsyncIterator[Answer]:
    """Until the last one; none of a cursor whose version serves no more."""
    parameters: dict[str, Any] = {"k": 100}
    while True:
        response = await client.get(f"/users/{user}/recommendations", params=parameters)
        if response.status_code == 410:
            return
        assert response.status_code == 200, response.text
        yield response.json()
        if (cursor := response.json()["next_cursor"]) is None:
            return
        parameters["cursor"] = cursor


def test_ten_swaps_under_load(urls: list[str]) -> None:
    asyncio.run(swap_under_load(urls))
