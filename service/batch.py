"""POST /tweets:batch: many tweets, each with a status of its own."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import UploadFile
from pydantic import ConfigDict, Field, ValidationError

from contract.fields import TweetText
from contract.ids import Id
from service.errors import InvalidBatch
from service.ingest import Ingest, NewTweet, ingest
from service.problems import Refusal, invalid_request, refusal_of
from service.schemas import BatchItem, Body, PastMoment

log = logging.getLogger(__name__)

MOST_TWEETS = 100


class BatchTweet(Body):
    """One of a batch."""

    model_config = ConfigDict(extra="forbid")

    author_id: Id
    image: Annotated[str, Field(examples=["lake.jpg"])]
    """The file name of its part `images`."""
    text: TweetText = ""
    tweet_id: Id | None = None
    created_at: PastMoment | None = None


BATCH_SCHEMA = {
    "minLength": 2,
    "contentMediaType": "application/json",
    "contentSchema": {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_TWEETS,
        "items": {"$ref": f"#/components/schemas/{BatchTweet.__name__}"},
    },
    "examples": ['[{"author_id": "u0007", "image": "lake.jpg", "text": "Calm lake. #morning"}]'],
}
"""Of the form field `tweets`: JSON in a string. An element that is none of these has its own 422."""


async def post_batch(tweets: str, images: list[UploadFile], parts: Ingest) -> list[BatchItem]:
    """Store and encode tweets, as many at a time as the encoder takes; the answers stand in the order of the tweets.

    Raises InvalidBatch where `tweets` is no list or has too many, Overloaded where the caller has too many in work.
    """
    rows = read_rows(tweets)
    at_a_time = asyncio.Semaphore(parts.batcher.fair_share)
    async with parts.batcher.large_request():
        pictures: dict[str, list[bytes]] = {}
        for image in images:
            pictures.setdefault(image.filename or "", []).append(await image.read())

        async def one(row: Any) -> BatchItem:
            async with at_a_time:
                return await post_one(row, pictures, parts)

        return list(await asyncio.gather(*(one(row) for row in rows)))


def read_rows(tweets: str) -> list[Any]:
    """The list of a batch. Raises InvalidBatch."""
    try:
        rows = json.loads(tweets)
    except (ValueError, RecursionError) as error:
        raise InvalidBatch(f"tweets: is no JSON ({error}): send a list of objects") from error
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_TWEETS:
        raise InvalidBatch(f"tweets: send a JSON list of 1 to {MOST_TWEETS} objects")
    return rows


async def post_one(row: Any, pictures: Mapping[str, list[bytes]], parts: Ingest) -> BatchItem:
    """What POST /tweets answers for one of the tweets."""
    try:
        tweet = BatchTweet.model_validate(row)
    except ValidationError as error:
        return failed(invalid_request([(fault["loc"], fault["msg"]) for fault in error.errors()]))
    named = pictures.get(tweet.image, [])
    if len(named) != 1:
        found = f"{len(named)} parts `images` have" if named else "no part `images` has"
        return failed(invalid_request([(("image",), f"{found} the file name {tweet.image}: one must have it")]))
    try:
        new = NewTweet(tweet.author_id, tweet.text, named[0], tweet.tweet_id, tweet.created_at)
        posted = await ingest(new, parts)
    except Exception as error:  # whatever it is, it is this tweet's answer, and the others get theirs
        refusal = refusal_of(error)
        if refusal.status == 500:
            log.exception("a tweet of a batch failed")
        return failed(refusal)
    return BatchItem(status=201 if posted.status == "ready" else 202, tweet=posted, problem=None)


def failed(refusal: Refusal) -> BatchItem:
    """A tweet that is not stored."""
    return BatchItem(status=refusal.status, tweet=None, problem=refusal.body())
