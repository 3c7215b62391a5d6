"""POST /tweets:batch: each tweet has a status of its own."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from contract.environment import StoreSettings
from contract.tables import ApiKey, Tweet, create_engine
from service import batch
from service.batcher import LARGE_REQUESTS_OF_ONE
from service.keys import create_key
from service.schemas import BatchItem
from tests.integration.running import Service, fields, new_user, png, problem, serving, until

pytestmark = pytest.mark.anyio


async def post(
    service: Service, rows: Any, pictures: dict[str, bytes], headers: dict[str, str] | None = None
) -> httpx.Response:
    files = [("images", (name, data)) for name, data in pictures.items()]
    tweets = rows if isinstance(rows, str) else json.dumps(rows)
    return await service.client.post("/tweets:batch", data={"tweets": tweets}, files=files, headers=headers)


async def test_each_tweet_has_its_own_answer(service: Service, author: str, reader: str) -> None:
    pictures = {"a.png": png("beige", (33, 33)), "b.png": png("linen", (33, 33)), "bad.png": b"no picture"}
    rows = [
        {"author_id": author, "image": "a.png", "text": "first of the batch", "tweet_id": "batch-1"},
        {"author_id": "nobody", "image": "a.png"},
        {"author_id": author, "image": "bad.png"},
        {"author_id": author, "image": "c.png"},
        {"author_id": "a b", "image": "a.png", "likes": 3},
        "no object",
        {"author_id": author, "image": "b.png", "created_at": "2026-02-03T04:05:06Z"},
        {"author_id": reader, "image": "b.png", "tweet_id": "batch-1"},
        {"author_id": author, "image": "a.png", "text": "again"},
    ]
    answer = await post(service, rows, pictures)
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    assert [item["status"] for item in items] in (
        [201, 422, 422, 422, 422, 422, 201, 409, 201],
        [409, 422, 422, 422, 422, 422, 201, 201, 201],
    )
    slugs = [item["problem"] and item["problem"]["type"].rpartition("/")[2] for item in items]
    assert slugs[1:6] == ["unknown-author", "image-unreadable", "invalid-request", "invalid-request", "invalid-request"]
    assert fields(items[3]["problem"]) == ["image"]
    assert sorted(fields(items[4]["problem"])) == ["author_id", "likes"]
    stored = {tweet for (tweet,) in await service.sql(Tweet.tweet_id)}
    assert {item["tweet"]["tweet_id"] for item in items if item["tweet"]} <= stored
    shown = {item["tweet_id"] for item in await service.recommended(reader, 100)}
    assert items[8]["tweet"]["tweet_id"] in shown


async def test_a_batch_twice_is_one(service: Service) -> None:
    await new_user(service, "by-the-batch")
    rows = [{"author_id": "by-the-batch", "image": "x", "tweet_id": f"twice-{number}"} for number in range(24)]
    first = await post(service, rows, {"x": png("snow")})
    count = len(await service.sql(Tweet.tweet_id))
    second = await post(service, rows, {"x": png("snow")})
    assert {item["status"] for item in (*first.json()["items"], *second.json()["items"])} == {201}
    assert first.json() == second.json()
    assert len(await service.sql(Tweet.tweet_id)) == count


async def all_done_but_some(tasks: list[asyncio.Task[httpx.Response]]) -> bool:
    return sum(task.done() for task in tasks) == len(tasks) - LARGE_REQUESTS_OF_ONE


async def test_a_key_has_few_batches_in_work(trained: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that another key's waits for these alone."""
    gate, post_one = asyncio.Event(), batch.post_one

    async def slow(*arguments: Any) -> BatchItem:
        await gate.wait()
        return await post_one(*arguments)

    monkeypatch.setattr(batch, "post_one", slow)
    engine = create_engine(trained.sqlalchemy_url)
    try:
        keys = {name: {"authorization": f"Bearer {await create_key(engine, name, ['write'])}"} for name in "ab"}
        async with serving(trained, host="0.0.0.0") as service:
            rows = [{"author_id": "u0001", "image": "x"}]

            def send(key: str) -> asyncio.Task[httpx.Response]:
                return asyncio.create_task(post(service, rows, {"x": png()}, keys[key]))

            sent = [send("a") for _ in range(LARGE_REQUESTS_OF_ONE + 3)]
            await until(lambda: all_done_but_some(sent), 10)
            for answer in [await task for task in sent if task.done()]:
                assert int(answer.headers["retry-after"]) >= 1
                problem(answer, 429, "overloaded")
            other = send("b")
            await asyncio.sleep(0.2)
            gate.set()
            statuses = sorted([(await task).status_code for task in sent])
            assert statuses == [200] * LARGE_REQUESTS_OF_ONE + [429] * 3
            assert (await other).json()["items"][0]["status"] == 201
            assert (await send("a")).json()["items"][0]["status"] == 201
    finally:
        async with engine.begin() as connection:
            await connection.execute(delete(ApiKey))
        await engine.dispose()


async def test_a_name_that_two_pictures_have_is_refused(service: Service, author: str) -> None:
    rows = json.dumps([{"author_id": author, "image": name} for name in ("x", "y")])
    files = [("images", (name, png(colour))) for name, colour in (("x", "red"), ("x", "blue"), ("y", "green"))]
    answer = await service.client.post("/tweets:batch", data={"tweets": rows}, files=files)
    refused, posted = answer.json()["items"]
    assert (refused["status"], fields(refused["problem"]), posted["status"]) == (422, ["image"], 201)


@pytest.mark.parametrize("rows", ["", "[", "{}", "[]", "null", "[" * 100_000, [{}] * 101])
async def test_what_is_no_batch_is_refused(service: Service, rows: Any) -> None:
    answer = await post(service, rows, {"x": png()})
    assert answer.status_code == 422
    assert answer.json()["type"] in ("/problems/invalid-batch", "/problems/invalid-request")


async def test_lone_surrogates_and_nul_are_named(service: Service, author: str) -> None:
    rows = [{"author_id": author, "image": "x", "text": text} for text in ("\ud800", "a\0b")]
    items = (await post(service, rows, {"x": png()})).json()["items"]
    assert [item["status"] for item in items] == [422, 422]
    assert [fields(item["problem"]) for item in items] == [["text"], ["text"]]


async def test_a_batch_of_more_than_64_mb_is_refused(service: Service) -> None:
    body = b"x" * 64_000_001
    headers = {"content-type": "multipart/form-data; boundary=b"}
    problem(await service.client.post("/tweets:batch", content=body, headers=headers), 413, "body-too-large")
