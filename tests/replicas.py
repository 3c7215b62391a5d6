"""Replicas that share PostgreSQL, Redis and storage that speaks S3, and no folder; each request goes to any of them."""

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from contract.blobs import BlobStore
from contract.environment import StoreSettings
from contract.progress import silent
from contract.tables import create_engine
from service.keys import create_key
from tests.chaos.check import check, settled
from tests.chaos.load import REFUSED, USERS, Ledger, Load
from tests.integration.running import png
from tests.load import at_work
from tests.processes import Running, environment_of, service_process
from training.retrain import publish_folder

PER_MINUTE = 20
WRITERS, READERS = 3, 2
ENOUGH = 100
"""Answers of the new replica under load."""


class Spread(httpx.AsyncBaseTransport):
    """As a balancer: each request to a replica at random, or to another where that one takes no connection."""

    def __init__(self, urls: list[str], key: str) -> None:
        self.urls, self._key = urls, key
        self._through = httpx.AsyncHTTPTransport()
        self.answered: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers.setdefault("Authorization", f"Bearer {self._key}")
        for url in random.sample(self.urls, len(self.urls)):
            request.url = request.url.copy_with(host="127.0.0.1", port=httpx.URL(url).port)
            try:
                answer = await self._through.handle_async_request(request)
            except httpx.ConnectError:
                continue
            self.answered[url] += 1
            return answer
        raise httpx.ConnectError("no replica takes connections")

    async def aclose(self) -> None:
        await self._through.aclose()


@dataclass
class Replicas:
    """Those that run, and what starts another."""

    stores: StoreSettings
    folder: Path
    stack: ExitStack
    key: str
    limited: str
    running: list[Running] = field(default_factory=list)
    started: int = 0

    def start(self) -> Running:
        """One that has nothing but its settings."""
        self.started += 1
        own = self.folder / str(self.started)
        alone = self.stores.model_copy(update={"var_dir": own / "var", "models_dir": own / "models"})
        own.mkdir()
        replica = self.stack.enter_context(service_process(environment_of(alone), own / "log"))
        self.running.append(replica)
        return replica

    @property
    def urls(self) -> list[str]:
        return [replica.url for replica in self.running]

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=Spread(self.urls, self.key), base_url="http://replicas", timeout=40)


def moved(local: StoreSettings, pictures: str, models: str) -> StoreSettings:
    """The same stores with pictures and model on S3."""
    there = local.model_copy(update={"blob_url": pictures, "models_url": models})
    blobs = BlobStore(pictures)
    for path in (local.var_dir / "images").glob("??/*"):
        blobs.put(path.read_bytes())
    (model,) = local.models_dir.iterdir()
    publish_folder(model, there, silent)
    shutil.rmtree(local.var_dir / "images")
    return there


@contextmanager
def three_replicas(stores: StoreSettings) -> Iterator[Replicas]:
    async def keys() -> list[str]:
        engine = create_engine(stores.sqlalchemy_url)
        try:
            return [
                await create_key(engine, "an app", ["read", "write", "admin"]),
                await create_key(engine, "limited", ["read"], PER_MINUTE),
            ]
        finally:
            await engine.dispose()

    with tempfile.TemporaryDirectory(prefix="itr") as folder, ExitStack() as stack:
        key, limited = asyncio.run(keys())
        started = Replicas(stores, Path(folder), stack, key, limited)
        for _ in range(3):
            started.start()
        yield started


async def pages(client: httpx.AsyncClient, user: str) -> list[str]:
    """All that a user is offered, page by page, each from any replica."""
    found: list[str] = []
    parameters: dict[str, Any] = {"k": 7}
    while True:
        answer = await tried(client, "GET", f"/users/{user}/recommendations", params=parameters)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += [item["tweet_id"] for item in body["items"]]
        if body["next_cursor"] is None:
            return found
        parameters["cursor"] = body["next_cursor"]


async def tried(client: httpx.AsyncClient, method: str, url: str, **more: Any) -> httpx.Response:
    """As a client does who retries."""
    while True:
        try:
            answer = await client.request(method, url, **more)
        except httpx.TransportError:
            continue
        if answer.status_code not in REFUSED:
            return answer
        await asyncio.sleep(0.05)


async def read_pages(client: httpx.AsyncClient, expected: dict[str, list[str]], read: list[str]) -> None:
    """A cursor goes on at any replica, whatever is posted, killed or started meanwhile."""
    while True:
        for user, tweets in expected.items():
            assert await pages(client, user) == tweets, user
            read.append(user)


async def post_again(client: httpx.AsyncClient, posted: list[str]) -> None:
    """The same post at several replicas, at once and one after the other, is one tweet."""
    await tried(client, "POST", "/users", json={"user_id": "posts-again"})
    while True:
        name = f"again-{len(posted)}"
        form = {
            "data": {"author_id": "posts-again", "text": name},
            "files": {"image": png("navy", (31, 31 + len(posted)))},
        }
        headers = {"Idempotency-Key": name}
        first = await asyncio.gather(*(tried(client, "POST", "/tweets", headers=headers, **form) for _ in range(3)))
        again = await tried(client, "POST", "/tweets", headers=headers, **form)
        assert {answer.status_code for answer in (*first, again)} <= {201, 202}
        assert len({answer.json()["tweet_id"] for answer in (*first, again)}) == 1
        tweet = again.json()["tweet_id"]
        shown = await tried(client, "GET", f"/tweets/{tweet}/image")
        assert (shown.status_code, shown.content) == (200, png("navy", (31, 31 + len(posted))))
        posted.append(tweet)


@dataclass(frozen=True)
class Killed:
    """Seconds from the kill until the new one answered, and what came of all requests."""

    replaced: float
    ledger: Ledger


async def one_is_killed(replicas: Replicas) -> Killed:
    """A third is killed under load, and one that has nothing but its settings takes its place; nothing is lost."""
    ledger, read, posted = Ledger(), list[str](), list[str]()
    async with replicas.client() as client:
        spread: Spread = client._transport  # type: ignore[assignment]  # ours
        load = Load("http://replicas", ledger, "spread")
        await load._client.aclose()
        load._client = client
        expected = {user: await pages(client, user) for user in USERS[:8]}
        expected = {user: tweets for user, tweets in expected.items() if len(tweets) > 14}
        assert expected
        load.start(WRITERS, READERS)
        try:
            async with at_work(read_pages(client, expected, read), post_again(client, posted)):
                await asyncio.sleep(2)
                ledger.at_fault, began = True, time.monotonic()
                replicas.running.pop(0).process.kill()
                new = await asyncio.to_thread(replicas.start)
                replaced, spread.urls = time.monotonic() - began, replicas.urls
                async with asyncio.timeout(60):
                    while spread.answered[new.url] < ENOUGH:  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.05)
        finally:
            await load.stop()
    assert len(read) > 5
    assert len(posted) > 2
    assert ledger.acknowledged > 50
    assert await settled(replicas.stores) == []
    await check_everywhere(ledger, replicas)
    return Killed(replaced, ledger)


async def check_everywhere(ledger: Ledger, replicas: Replicas) -> None:
    """What was acknowledged is there once, at each replica."""
    headers = {"Authorization": f"Bearer {replicas.key}"}
    for url in replicas.urls:
        verdict = await check(ledger, replicas.stores, url, headers)
        assert (verdict.lost, verdict.duplicated, verdict.wrong) == (0, 0, []), verdict


async def limited_over_all(replicas: Replicas) -> None:
    async with replicas.client() as client:
        headers = {"Authorization": f"Bearer {replicas.limited}"}
        answers = [await client.get("/tweets/t0001", headers=headers) for _ in range(2 * PER_MINUTE)]
    counts = Counter(answer.status_code for answer in answers)
    assert counts.keys() == {200, 429}
    assert PER_MINUTE <= counts[200] <= PER_MINUTE + 1  # a minute may end meanwhile
