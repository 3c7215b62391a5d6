"""POST /tweets, a line a stage."""

import asyncio
import logging
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from contract.blobs import BlobStore, blob_key
from contract.graph import OnlineGraph, TimelineEntry, to_ms
from contract.preprocessing import decode_image
from contract.vectors import VectorStore
from service.active import ActiveModel, ActiveModels
from service.batcher import MicroBatcher
from service.database import Database, StoredTweet
from service.errors import TweetConflict, UnknownAuthor
from service.schemas import PostedTweet

log = logging.getLogger(__name__)

ENCODE_SECONDS = 10
_CHECKED_SIZE = 224


@dataclass(frozen=True)
class Ingest:
    """The use case and the stores it works on. `behind` is set where a stored tweet could not be encoded."""

    database: Database
    blobs: BlobStore
    graph: OnlineGraph
    vectors: VectorStore
    models: ActiveModels
    batcher: MicroBatcher
    behind: asyncio.Event


@dataclass(frozen=True)
class NewTweet:
    """What a client posts; the image's bytes are as they came."""

    author_id: str
    text: str
    image: bytes
    tweet_id: str | None
    created_at: datetime | None


async def ingest(new: NewTweet, parts: Ingest) -> PostedTweet:
    """Store a tweet durably, then encode it and make it a candidate.

    What fails after the tweet is stored leaves it `pending`: it is encoded later, and nothing is lost.
    Raises Overloaded before anything is stored; UnknownAuthor, TweetConflict, ImageRejected, SQLAlchemyError.
    """
    with parts.batcher.permit():
        model = parts.models.current
        await check_author(new, parts.database)
        image_HWC = await decode(new.image, model)
        tweet = await store(new, parts)
        ready = await make_recommendable(tweet, image_HWC, model, parts)
    return posted(tweet, model if ready else None)


async def check_author(new: NewTweet, database: Database) -> None:
    """Raises UnknownAuthor."""
    if not await database.user_exists(new.author_id):
        raise UnknownAuthor(f"author_id {new.author_id} is not known: use the id of a user of the network")


async def decode(image: bytes, model: ActiveModel | None) -> npt.NDArray[np.uint8]:
    """The picture at the encoder's size, uint8 [H, W, C]. Raises ImageRejected."""
    size = _CHECKED_SIZE if model is None else model.manifest.preprocessing.image_size
    return await asyncio.to_thread(decode_image, image, size)


async def store(new: NewTweet, parts: Ingest) -> StoredTweet:
    """Make image and row durable; the same tweet a second time is the first one. Raises TweetConflict."""
    wanted = StoredTweet(
        tweet_id=new.tweet_id or uuid.uuid4().hex,
        author_id=new.author_id,
        text=new.text,
        image_key=blob_key(new.image),
        created_at=new.created_at or datetime.now(UTC),
    )
    stored = await parts.database.tweet(wanted.tweet_id) if new.tweet_id else None
    if stored is None:
        await asyncio.to_thread(parts.blobs.put, new.image)
        stored = await parts.database.add_tweet(wanted)
    if stored != replace(wanted, created_at=new.created_at or stored.created_at):
        raise TweetConflict(f"tweet_id {stored.tweet_id} is taken by another tweet: choose another id, or leave it out")
    return stored


async def make_recommendable(
    tweet: StoredTweet, image_HWC: npt.NDArray[np.uint8], model: ActiveModel | None, parts: Ingest
) -> bool:
    """Encode, then vector and timeline in Redis, then the vector in SQL: the mark that all of it was done.

    Returns False where no model serves or something fails; the backlog tries again.
    """
    if model is None:
        parts.behind.set()
        return False
    try:
        async with asyncio.timeout(ENCODE_SECONDS):
            z_D = await parts.batcher.encode(model, image_HWC, tweet.text)
            await parts.vectors.put_tweets(model.version, [tweet.tweet_id], z_D[None])
            entry = TimelineEntry(tweet.tweet_id, tweet.author_id, to_ms(tweet.created_at))
            await parts.graph.add_tweets([entry])
            await parts.database.add_vector(tweet.tweet_id, model.version, z_D.astype("<f2").tobytes())
    except Exception as error:  # the tweet is stored: whatever went wrong, it must not be reported as refused
        log.error("tweet %s is stored but not encoded yet: %r", tweet.tweet_id, error)
        parts.behind.set()
        return False
    if parts.models.current is not model:
        parts.behind.set()
    return True


def posted(tweet: StoredTweet, model: ActiveModel | None) -> PostedTweet:
    """The answer."""
    return PostedTweet(
        tweet_id=tweet.tweet_id,
        author_id=tweet.author_id,
        text=tweet.text,
        created_at=tweet.created_at,
        status="pending" if model is None else "ready",
        version=None if model is None else model.version,
    )
