import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from contract.environment import StoreSettings
from contract.runtime import OnnxModel
from contract.tables import Follow, Tweet, TweetVector, User
from tests.integration.running import Network, Service, fields, png, problem, saved, serving

pytestmark = pytest.mark.anyio


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
        pytest.param("created_at", FUTURE, id="created_at-in-an-hour"),  # an id that is the same in every process
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


async def test_the_same_idempotency_key_is_the_same_tweet(service: Service, author: str, reader: str) -> None:
    headers = {"Idempotency-Key": "order-1"}

    async def post(author_id: str, text: str) -> httpx.Response:
        data, files = {"author_id": author_id, "text": text}, {"image": ("picture", png("tan"))}
        return await service.client.post("/tweets", data=data, files=files, headers=headers)

    first, again = await post(author, "once"), await post(author, "once")
    assert (first.status_code, first.json()) == (201, again.json())
    problem(await post(author, "other words"), 409, "tweet-conflict")
    other = await post(reader, "once")
    assert other.status_code == 201
    assert other.json()["tweet_id"] != first.json()["tweet_id"]


async def test_similar_tweets_come_first(service: Service, author: str) -> None:
    red, also_red, blue = [
        (await service.post(png(colour, size), author_id=author, text=text)).json()["tweet_id"]
        for colour, size, text in (
            ("red", (40, 40), "A red square."),
            ("red", (40, 40), "A red square."),
            ("blue", (40, 40), "Quite another thing!"),
        )
    ]
    body = (await service.client.get(f"/tweets/{red}/similar", params={"k": 100})).json()
    similarity = {item["tweet_id"]: item["similarity"] for item in body["items"]}
    assert similarity[also_red] == pytest.approx(1, abs=1e-5)
    assert similarity[blue] < similarity[also_red]
    assert red not in similarity
    assert list(similarity.values()) == sorted(similarity.values(), reverse=True)
    assert len(similarity) == min(100, body["candidates"])
    assert (await service.client.put(f"/tweets/{red}/hidden")).status_code == 204
    problem(await service.client.get(f"/tweets/{red}/similar"), 404, "unknown-tweet")
    assert (await service.client.delete(f"/tweets/{red}/hidden")).status_code == 204
    problem(await service.client.get("/tweets/nothing/similar"), 404, "unknown-tweet")
