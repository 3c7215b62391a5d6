import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urljoin

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from fastapi import FastAPI
from PIL import Image
from pydantic import SecretStr, ValidationError
from sqlalchemy import select

from contract.environment import StoreSettings
from contract.errors import ContractError
from contract.runtime import OnnxModel
from contract.tables import Follow, Retweet, Tweet, TweetVector, User, create_engine
from service.api.parts import Parts
from service.main import create_app
from service.settings import Settings

pytestmark = pytest.mark.anyio

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
        answer = await self.client.get(f"/users/{user_id}/recommendations", params={"k": k})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


@asynccontextmanager
async def serving(stores: StoreSettings, **more: Any) -> AsyncIterator[Service]:
    settings = Settings(**{"host": "127.0.0.1", "api_key": None, "device": "cpu"} | stores.model_dump() | more)
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service", timeout=30) as client,
    ):
        yield Service(app, client, settings)


@pytest.fixture
async def service(trained: StoreSettings) -> AsyncIterator[Service]:
    async with serving(trained) as started:
        yield started


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


@pytest.fixture
async def network(service: Service) -> Network:
    followees: dict[str, set[str]] = {}
    for follower, followee in await service.sql(Follow.follower_id, Follow.followee_id):
        followees.setdefault(follower, set()).add(followee)
    retweeters: dict[str, set[str]] = {}
    for user, tweet in await service.sql(Retweet.user_id, Retweet.tweet_id):
        retweeters.setdefault(tweet, set()).add(user)
    authors = dict(cast(list[tuple[str, str]], await service.sql(Tweet.tweet_id, Tweet.author_id)))
    return Network(followees, authors, retweeters)


@pytest.fixture
def reader(network: Network) -> str:
    """A user whose followees offer much."""
    return max(sorted(network.followees), key=lambda user: len(network.offered(user)))


@pytest.fixture
def author(network: Network, reader: str) -> str:
    """Whom the reader follows."""
    return min(network.followees[reader])


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


async def test_three_of_what_followees_offer_best_first(service: Service, network: Network) -> None:
    asked = [user for user in sorted(network.followees) if len(network.offered(user)) >= 3]
    assert len(asked) > 20
    for user in asked:
        answer = await service.client.get(f"/users/{user}/recommendations", params={"k": 3})
        assert answer.status_code == 200
        body = answer.json()
        scores = [item["score"] for item in body["items"]]
        tweets = [item["tweet_id"] for item in body["items"]]
        assert len(set(tweets)) == 3
        assert scores == sorted(scores, reverse=True)
        assert set(tweets) <= network.offered(user)
        assert [item["author_id"] for item in body["items"]] == [network.authors[tweet] for tweet in tweets]
        assert (body["user_id"], body["source"], body["candidates"]) == (user, "followees", len(network.offered(user)))


async def test_three_is_the_default_and_k_100_gives_all(service: Service, network: Network, reader: str) -> None:
    answer = await service.client.get(f"/users/{reader}/recommendations")
    everything = await service.recommended(reader, 100)
    assert answer.json()["items"] == everything[:3]
    assert {item["tweet_id"] for item in everything} == network.offered(reader)


async def test_the_score_is_the_sum_of_its_facets(service: Service, reader: str) -> None:
    items = await service.recommended(reader, 100)
    assert len({item["score"] for item in items}) > 1
    for item in items:
        assert item["score"] == pytest.approx(item["personal"] + item["social"], abs=1e-4)


@pytest.mark.parametrize("k", ["0", "-1", "101", "x", "", "1.5"])
async def test_a_wrong_k_is_named(service: Service, reader: str, k: str) -> None:
    answer = await service.client.get(f"/users/{reader}/recommendations", params={"k": k})
    assert fields(problem(answer, 422, "invalid-request")) == ["k"]


async def test_an_unknown_user_is_not_found(service: Service) -> None:
    body = problem(await service.client.get("/users/nobody/recommendations"), 404, "unknown-user")
    assert "nobody" in body["detail"]


@pytest.mark.parametrize("user", ["a%20b", "a.b", "ä", "a%0A", "a" * 65])
async def test_a_wrong_user_id_is_named(service: Service, user: str) -> None:
    answer = await service.client.get(f"/users/{user}/recommendations")
    assert fields(problem(answer, 422, "invalid-request")) == ["user_id"]


async def test_a_followee_s_new_picture_is_a_candidate(service: Service, reader: str, author: str) -> None:
    before = await service.recommended(reader, 100)
    answer = await service.post(png(), author_id=author, text="A red square. Just red!")
    assert answer.status_code == 201, answer.text
    body = answer.json()
    version = await service.parts.ingest.vectors.active_version()
    assert (body["author_id"], body["text"], body["status"]) == (author, "A red square. Just red!", "ready")
    assert body["version"] == version
    assert abs(datetime.now(UTC) - datetime.fromisoformat(body["created_at"])) < timedelta(minutes=1)
    after = await service.recommended(reader, 100)
    assert {item["tweet_id"] for item in after} - {item["tweet_id"] for item in before} == {body["tweet_id"]}
    assert body["tweet_id"] not in {item["tweet_id"] for item in await service.recommended(author, 100)}
    assert (body["tweet_id"], version) in await service.sql(TweetVector.tweet_id, TweetVector.version)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF"])
async def test_every_format_is_taken(service: Service, author: str, format_: str) -> None:
    answer = await service.post(saved(Image.new("RGB", (50, 20), "blue"), format_), author_id=author)
    assert (answer.status_code, answer.json()["status"]) == (201, "ready")


async def test_the_same_tweet_twice_is_one(service: Service, author: str) -> None:
    at = "2026-02-03T04:05:06.789+02:00"
    sent = {"author_id": author, "text": "twice", "tweet_id": "twice", "created_at": at}
    first = await service.post(png("green"), **sent)
    state, blobs = await service.state(), service.blobs()
    second = await service.post(png("green"), **sent)
    assert (first.status_code, second.status_code) == (201, 201)
    times = [datetime.fromisoformat(answer.json()["created_at"]) for answer in (first, second)]
    assert times == [datetime.fromisoformat(at)] * 2
    assert first.json() | {"created_at": None} == second.json() | {"created_at": None}
    assert (await service.state(), service.blobs()) == (state, blobs)
    assert [row for row in await service.sql(Tweet.tweet_id) if row == ("twice",)] == [("twice",)]


async def test_the_same_tweet_at_the_same_time_is_one(service: Service, author: str) -> None:
    sent = {"author_id": author, "text": "at once", "tweet_id": "at-once"}
    answers = await asyncio.gather(*(service.post(png("green"), **sent) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.json()["created_at"] for answer in answers}) == 1
    assert [row for row in await service.sql(Tweet.tweet_id) if row == ("at-once",)] == [("at-once",)]


@pytest.mark.parametrize("other", ["text", "author_id", "created_at", "image"])
async def test_a_taken_id_is_a_conflict(service: Service, network: Network, author: str, other: str) -> None:
    at = "2026-02-03T04:05:06Z"
    sent = {"author_id": author, "text": "mine", "tweet_id": f"taken-{other}", "created_at": at}
    assert (await service.post(png("blue"), **sent)).status_code == 201
    state, blobs = await service.state(), service.blobs()
    changed = {
        "text": "other words",
        "author_id": next(user for user in sorted(network.followees) if user != author),
        "created_at": "2026-02-03T04:05:07Z",
    }
    image = png("orange") if other == "image" else png("blue")
    answer = await service.post(image, **sent | ({} if other == "image" else {other: changed[other]}))
    body = problem(answer, 409, "tweet-conflict")
    assert f"taken-{other}" in body["detail"]
    assert await service.state() == state
    assert service.blobs() == blobs


async def test_an_unknown_author_is_refused(service: Service) -> None:
    state, blobs = await service.state(), service.blobs()
    body = problem(await service.post(png("pink"), author_id="nobody"), 422, "unknown-author")
    assert "nobody" in body["detail"]
    assert (await service.state(), service.blobs()) == (state, blobs)


FUTURE = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("author_id", "a b"),
        ("author_id", None),
        ("tweet_id", "a/b"),
        ("tweet_id", "a" * 65),
        ("text", "a" * 2_001),
        ("text", "a\x00b"),
        ("created_at", FUTURE),
        ("created_at", "yesterday"),
        ("created_at", "2026-01-01T00:00:00"),
        ("created_at", "0001-01-01T00:00:00+14:00"),
        ("image", None),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_a_wrong_field_is_named(service: Service, author: str, name: str, value: str | None) -> None:
    state, blobs = await service.state(), service.blobs()
    sent = {"author_id": author, "text": "words"} | ({} if value is None else {name: value})
    if value is None:
        sent.pop(name, None)
    answer = await service.post(None if name == "image" else png("pink"), **sent)
    assert fields(problem(answer, 422, "invalid-request")) == [name]
    assert (await service.state(), service.blobs()) == (state, blobs)


async def test_an_image_sent_as_words_is_named(service: Service, author: str) -> None:
    answer = await service.client.post("/tweets", data={"author_id": author, "image": "words"})
    assert fields(problem(answer, 422, "invalid-request")) == ["image"]


async def test_a_body_that_is_no_form_is_refused(service: Service) -> None:
    state = await service.state()
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await service.client.post("/tweets", content=b"no form at all", headers=headers)
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert await service.state() == state


@pytest.mark.parametrize("image", [b"", b"this is text", saved(Image.effect_noise((90, 90), 50), "JPEG")[:2_000]])
async def test_what_is_no_whole_picture_is_refused(service: Service, author: str, image: bytes) -> None:
    state, blobs = await service.state(), service.blobs()
    body = problem(await service.post(image, author_id=author), 422, "image-unreadable")
    assert "image" in body["detail"]
    assert (await service.state(), service.blobs()) == (state, blobs)


async def test_too_many_bytes_are_refused(service: Service, author: str) -> None:
    state, blobs = await service.state(), service.blobs()
    problem(await service.post(bytes(30_000_000), author_id=author), 413, "body-too-large")
    problem(await service.post(bytes(10_000_001), author_id=author), 413, "image-too-large")
    assert (await service.state(), service.blobs()) == (state, blobs)


async def test_too_many_bytes_of_no_announced_length_are_refused(service: Service) -> None:
    state = await service.state()
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\n'
        for _ in range(300):
            sent += 100_000
            yield bytes(100_000)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await service.client.post("/tweets", content=body(), headers=headers)
    problem(answer, 413, "body-too-large")
    assert sent < 11_000_000
    assert await service.state() == state


async def test_too_many_pixels_are_refused(service: Service, author: str) -> None:
    state, blobs = await service.state(), service.blobs()
    bomb = saved(Image.new("1", (30_000, 30_000)), "PNG")
    assert len(bomb) < 1_000_000
    problem(await service.post(bomb, author_id=author), 413, "image-too-large")
    assert (await service.state(), service.blobs()) == (state, blobs)


async def test_a_full_queue_answers_429(trained: StoreSettings) -> None:
    async with serving(trained, queue_size=1) as service:
        ((author,), *_) = await service.sql(User.user_id)
        state, blobs = await service.state(), service.blobs()
        with service.parts.ingest.batcher.permit():
            answer = await service.post(png("cyan"), author_id=author, tweet_id="overload")
            problem(answer, 429, "overloaded")
            assert int(answer.headers["retry-after"]) >= 1
            assert (await service.state(), service.blobs()) == (state, blobs)
        assert (await service.post(png("cyan"), author_id=author)).status_code == 201


async def test_refused_posts_give_their_place_back(trained: StoreSettings) -> None:
    async with serving(trained, queue_size=1) as service:
        ((author,), *_) = await service.sql(User.user_id)
        for image, user in ((b"text", author), (png(), "nobody"), (b"text", author)):
            assert (await service.post(image, author_id=user)).status_code == 422
        assert (await service.post(png("cyan"), author_id=author)).status_code == 201


async def appears(service: Service, user_id: str, tweet_id: str) -> None:
    """Waits until a tweet is recommended; fails after 15 s."""
    for _ in range(150):
        if tweet_id in {item["tweet_id"] for item in await service.recommended(user_id, 100)}:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"{tweet_id} was never recommended")


@dataclass
class FailsOnce:
    """An encoder that raises the first time."""

    real: OnnxModel
    failures: int = 0

    def encode(self, image_BHWC: npt.NDArray[np.uint8], ids_BSW: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        if not self.failures:
            self.failures += 1
            raise RuntimeError("the device is gone")
        return self.real.encode(image_BHWC, ids_BSW)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


async def test_what_could_not_be_encoded_is_encoded_later(service: Service, reader: str, author: str) -> None:
    models = service.parts.ingest.models
    model = models.required()
    broken = FailsOnce(model.onnx)
    models.current = replace(model, onnx=cast(OnnxModel, broken))
    answer = await service.post(png("purple"), author_id=author, text="later")
    assert (answer.status_code, answer.json()["status"], answer.json()["version"]) == (202, "pending", None)
    assert broken.failures == 1
    tweet_id = answer.json()["tweet_id"]
    assert (await service.post(png("brown"), author_id=author)).status_code == 201
    await appears(service, reader, tweet_id)


async def test_what_was_left_over_is_encoded_at_the_start(trained: StoreSettings) -> None:
    async with serving(trained) as service:
        (follower, author), *_ = await service.sql(Follow.follower_id, Follow.followee_id)
        service.parts.ingest.models.current = None
        answer = await service.post(png("gold"), author_id=author)
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    async with serving(trained) as service:
        await appears(service, follower, answer.json()["tweet_id"])


async def test_a_key_is_needed_where_one_is_set(trained: StoreSettings) -> None:
    async with serving(trained, api_key="secret", host="0.0.0.0") as service:
        ((user,), *_) = await service.sql(User.user_id)
        state = await service.state()
        url = f"/users/{user}/recommendations"
        for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic secret"}):
            answer = await service.client.get(url, headers=headers)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
            sent = {"data": {"author_id": user}, "files": {"image": ("picture", png())}, "headers": headers}
            problem(await service.client.post("/tweets", **cast(dict[str, Any], sent)), 401, "unauthorized")
        assert await service.state() == state
        assert (await service.client.get(url, headers={"authorization": "Bearer secret"})).status_code == 200
        for path in ("/health/live", "/health/ready"):
            assert (await service.client.get(path)).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_an_open_host_needs_a_key(host: str) -> None:
    with pytest.raises(ValidationError, match="set API_KEY"):
        Settings(host=host, api_key=None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert Settings(host=host, api_key=None).host == host


def test_an_empty_key_is_no_key() -> None:
    with pytest.raises(ValidationError):
        Settings(host="0.0.0.0", api_key=SecretStr(""))


async def test_it_is_alive_and_ready(service: Service) -> None:
    live, ready = await service.client.get("/health/live"), await service.client.get("/health/ready")
    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    version = await service.parts.ingest.vectors.active_version()
    expected = {"status": "ready", "model": version, "redis": "ok", "database": "ok"}
    assert (ready.status_code, ready.json()) == (200, expected)


async def test_without_a_model_it_is_alive_but_not_ready(stores: StoreSettings) -> None:
    async with serving(stores) as service:
        assert (await service.client.get("/health/live")).status_code == 200
        ready = await service.client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        answer = await service.client.get("/users/nobody/recommendations")
        problem(answer, 503, "not-ready")
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_database_without_the_schema_stops_the_start(trained: StoreSettings) -> None:
    empty = trained.model_copy(update={"database_url": "sqlite://"})
    with pytest.raises(ContractError, match="alembic upgrade head"):
        async with serving(empty):
            pytest.fail("it started")


async def test_the_docs_come_from_us_alone(service: Service) -> None:
    page = await service.client.get("/docs")
    assert page.status_code == 200
    tags = re.findall(r"<(?:script|link|img)\b[^>]*>", page.text)
    links = [link for tag in tags for link in re.findall(r"(?:src|href)=[\"']([^\"']+)", tag)]
    assert len(links) >= 2
    for link in links:
        assert urljoin("http://service/docs", link).startswith("http://service/")
        asset = await service.client.get(link)
        assert (asset.status_code, len(asset.content) > 0) == (200, True)
    assert not re.findall(r"<script[^>]+https?://", page.text)
    assert (await service.client.get("/openapi.json")).json()["paths"].keys() >= {"/tweets", "/health/live"}


@pytest.mark.parametrize("path", ["/nowhere", "/users", "/tweets/x/y"])
async def test_an_unknown_path_is_not_found(service: Service, path: str) -> None:
    problem(await service.client.get(path), 404, "not-found")


async def test_a_wrong_method_is_refused(service: Service) -> None:
    answer = await service.client.delete("/tweets")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
