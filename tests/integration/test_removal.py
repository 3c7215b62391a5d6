"""Tweets that nobody is to be recommended: hidden ones, which come back, and deleted ones, which do not."""

import asyncio
import threading
from contextlib import AsyncExitStack

import numpy as np
import pytest
from sqlalchemy import delete

from contract.blobs import blob_key
from contract.rebuild import copy_tweet_vectors
from contract.tables import DeletedTweet, Hide, Retweet, Tweet, TweetVector, User
from service import leaving, removal
from service.background import encode_pending
from service.removal import remove_pictures
from tests.integration.running import Service, changed, new_user, offered, png, problem, until

pytestmark = pytest.mark.anyio


async def test_a_tweet_that_is_kept_from_everybody_comes_back(service: Service, reader: str, author: str) -> None:
    tweet = (await service.post(png("plum"), author_id=author)).json()["tweet_id"]
    before = await service.recommended(reader, 100)
    for _ in range(2):
        await changed(service, "PUT", f"/tweets/{tweet}/hidden", 204)
        assert tweet not in await offered(service, reader)
        assert (await service.client.get(f"/tweets/{tweet}")).json()["hidden"] is True
    for _ in range(2):
        await changed(service, "DELETE", f"/tweets/{tweet}/hidden", 204)
        assert await service.recommended(reader, 100) == before
        assert (await service.client.get(f"/tweets/{tweet}")).json()["hidden"] is False


async def test_a_deleted_tweet_is_gone_at_once_and_for_good(service: Service, reader: str, author: str) -> None:
    sent = {"author_id": author, "tweet_id": "to-delete"}
    posted = await service.post(png("coral", (41, 31)), **sent)
    assert posted.status_code == 201
    await new_user(service, "retweets-it")
    await changed(service, "PUT", "/users/retweets-it/retweets/to-delete", 201)
    await changed(service, "PUT", f"/users/{author}/hidden/to-delete", 201)
    assert "to-delete" in await offered(service, reader)
    image = blob_key(png("coral", (41, 31)))
    assert image in service.blobs()
    for _ in range(2):
        await changed(service, "DELETE", "/tweets/to-delete", 204)
        assert "to-delete" not in await offered(service, reader)
    for column in (Tweet.tweet_id, TweetVector.tweet_id, Retweet.tweet_id, Hide.tweet_id):
        assert ("to-delete",) not in await service.sql(column)
    assert image not in service.blobs()
    assert ("to-delete", None) in await service.sql(DeletedTweet.tweet_id, DeletedTweet.image_key)
    graph = service.parts.ingest.graph
    timelines = await graph.timelines([author, "retweets-it"])
    assert "to-delete" not in {entry.tweet_id for timeline in timelines for entry in timeline}
    assert "to-delete" not in {entry.tweet_id for entry in await graph.recent()}
    for url in ("/tweets/to-delete", "/tweets/to-delete/image"):
        problem(await service.client.get(url), 404, "unknown-tweet")
    body = problem(await service.post(png("coral", (41, 31)), **sent), 409, "tweet-conflict")
    assert "deleted" in body["detail"]
    assert image not in service.blobs()


async def test_a_picture_stays_while_a_tweet_shows_it(service: Service, author: str) -> None:
    picture = png("gold", (41, 31))
    first, second = [(await service.post(picture, author_id=author)).json()["tweet_id"] for _ in range(2)]
    image = blob_key(picture)
    await changed(service, "DELETE", f"/tweets/{first}", 204)
    shown = await service.client.get(f"/tweets/{second}/image")
    assert (shown.status_code, shown.content, shown.headers["content-type"]) == (200, picture, "image/png")
    assert shown.headers["etag"] == f'"{image}"'
    await changed(service, "DELETE", f"/tweets/{second}", 204)
    assert image not in service.blobs()


async def test_tweets_deleted_while_they_are_posted_leave_nothing(service: Service, author: str) -> None:
    """The picture of a tweet that is there is there, whoever came first."""
    picture = png("khaki", (41, 31))

    async def post_and_delete(number: int) -> None:
        id_ = f"brief-{number}"
        await service.post(picture, author_id=author, tweet_id=id_)
        if number % 2:
            await changed(service, "DELETE", f"/tweets/{id_}", 204)

    await asyncio.gather(*(post_and_delete(number) for number in range(12)))
    left = {tweet for (tweet,) in await service.sql(Tweet.tweet_id) if tweet.startswith("brief-")}
    assert left == {f"brief-{number}" for number in range(0, 12, 2)}
    for tweet in sorted(left):
        assert (await service.client.get(f"/tweets/{tweet}/image")).content == picture
        await changed(service, "DELETE", f"/tweets/{tweet}", 204)
    assert blob_key(picture) not in service.blobs()


async def test_a_vector_that_a_dead_process_left_is_hidden_too(service: Service, reader: str, author: str) -> None:
    """Redis has the vector, SQL has no row of it: the process died before its commit."""
    tweet = (await service.post(png("sienna"), author_id=author)).json()["tweet_id"]
    engine = service.parts.ingest.database.engine
    async with engine.begin() as connection:
        await connection.execute(delete(TweetVector).where(TweetVector.tweet_id == tweet))
    assert tweet in await offered(service, reader)
    await changed(service, "PUT", f"/tweets/{tweet}/hidden", 204)
    assert tweet not in await offered(service, reader)
    model = service.parts.ingest.models.required()
    assert await encode_pending(service.parts.ingest, model) == 0
    assert tweet not in await offered(service, reader)
    await changed(service, "DELETE", f"/tweets/{tweet}/hidden", 204)
    assert tweet in await offered(service, reader)
    await changed(service, "DELETE", f"/tweets/{tweet}", 204)


async def test_publishing_shows_no_hidden_tweet(service: Service, reader: str, author: str) -> None:
    tweet = (await service.post(png("salmon"), author_id=author)).json()["tweet_id"]
    await changed(service, "PUT", f"/tweets/{tweet}/hidden", 204)
    exported = service.parts.ingest.models.required().artifact
    vectors = service.parts.ingest.vectors
    await vectors.put_tweets(exported.manifest.version, [tweet], np.ones((1, exported.manifest.dim), dtype=np.float16))
    await copy_tweet_vectors(service.parts.ingest.database.engine, vectors, exported.manifest)
    assert tweet not in await offered(service, reader)
    await changed(service, "DELETE", f"/tweets/{tweet}", 204)


async def test_a_picture_that_cannot_be_removed_is_tried_again(
    service: Service, monkeypatch: pytest.MonkeyPatch, author: str
) -> None:
    picture = png("thistle", (41, 31))
    tweet = (await service.post(picture, author_id=author)).json()["tweet_id"]

    tries = 0

    def fails(_: str) -> None:
        nonlocal tries
        tries += 1
        raise PermissionError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr(service.parts.ingest.pictures.blobs, "delete", fails)
        await changed(service, "DELETE", f"/tweets/{tweet}", 204)
        assert (tweet, blob_key(picture)) in await service.sql(DeletedTweet.tweet_id, DeletedTweet.image_key)
        await asyncio.sleep(0.5)
        assert tries <= 2  # the request's and the backlog's, which then rests
    assert await remove_pictures(service.parts.ingest) == 0
    assert (tweet, None) in await service.sql(DeletedTweet.tweet_id, DeletedTweet.image_key)
    assert blob_key(picture) not in service.blobs()


async def test_pictures_that_cannot_be_removed_hold_up_no_others(
    service: Service, monkeypatch: pytest.MonkeyPatch, author: str
) -> None:
    """Though that many in a row end a round."""
    pictures = [png("orchid", (41, 31 + number)) for number in range(5)]
    tweets = [(await service.post(picture, author_id=author)).json()["tweet_id"] for picture in pictures]
    parts = service.parts.ingest
    remove, bad, tried = parts.pictures.blobs.delete, {blob_key(picture) for picture in pictures}, list[str]()

    def fails(key: str) -> None:
        tried.append(key)
        if key in bad:
            raise PermissionError("read-only")
        remove(key)

    with monkeypatch.context() as patch:
        patch.setattr(parts.pictures.blobs, "delete", fails)
        for tweet in tweets:
            await changed(service, "DELETE", f"/tweets/{tweet}", 204)
        tried.clear()
        assert await remove_pictures(parts) == 5
        (good,) = bad - {*tried[:4]}
        bad.remove(good)
        for _ in range(30):
            if await remove_pictures(parts) == 4:
                break
        assert good not in service.blobs()
    assert await remove_pictures(parts) == 0


async def test_a_store_of_pictures_that_hangs_keeps_no_user_who_leaves_waiting(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await new_user(service, "leaves-while-it-hangs")
    for number in range(3):
        assert (await service.post(png("tan", (41, 31 + number)), author_id=user)).status_code == 201
    blobs, healed = service.parts.ingest.pictures.blobs, threading.Event()
    remove, before = blobs.delete, service.blobs()

    def hangs(key: str) -> None:
        healed.wait(30)
        remove(key)

    monkeypatch.setattr(blobs, "delete", hangs)
    monkeypatch.setattr(removal, "_AT_ONCE_SECONDS", 0.2)
    monkeypatch.setattr(leaving, "AT_ONCE_SECONDS", 1.0)  # SQLite makes one change at a time
    try:
        async with asyncio.timeout(10):
            assert (await service.client.delete(f"/users/{user}")).status_code in (202, 204)
        assert service.blobs() == before
    finally:
        healed.set()

    async def are_gone() -> bool:
        return len(service.blobs()) == len(before) - 3 and (user,) not in await service.sql(User.user_id)

    await until(are_gone, 30)


async def test_who_gets_no_turn_at_a_store_of_pictures_that_hangs_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch, author: str
) -> None:
    monkeypatch.setattr("service.pictures._TURN_SECONDS", 0.2)
    before = await service.state()
    async with AsyncExitStack() as others:
        for _ in range(8):
            await others.enter_async_context(service.parts.ingest.pictures.turn())
        problem(await service.post(png("wheat"), author_id=author), 503, "store-unavailable")
        assert await service.state() == before
    posted = await service.post(png("wheat"), author_id=author)
    assert posted.status_code == 201
    await changed(service, "DELETE", f"/tweets/{posted.json()['tweet_id']}", 204)


async def test_reads_of_pictures_that_hang_hold_up_no_tweet(
    service: Service, monkeypatch: pytest.MonkeyPatch, author: str
) -> None:
    pictures, healed = service.parts.ingest.pictures, threading.Event()
    monkeypatch.setattr(pictures.blobs, "get", lambda _: healed.wait(30))
    reads = [asyncio.create_task(pictures.get("")) for _ in range(20)]
    try:
        async with asyncio.timeout(10):
            posted = await service.post(png("linen"), author_id=author)
        assert posted.status_code == 201
        await changed(service, "DELETE", f"/tweets/{posted.json()['tweet_id']}", 204)
    finally:
        healed.set()
        await asyncio.gather(*reads)


async def test_many_deletions_of_nothing_leave_the_database_free(service: Service) -> None:
    """More than the pool has connections."""
    answers = await asyncio.gather(*(service.client.delete("/tweets/nothing") for _ in range(40)))
    assert {answer.status_code for answer in answers} == {404}
