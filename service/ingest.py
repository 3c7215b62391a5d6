"""POST /tweets, a line a stage."""

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from contract.blobs import blob_key
from contract.graph import OnlineGraph, TimelineEntry, to_ms
from contract.preprocessing import decode_image
from contract.tables import Retweet, Tweet, TweetVector
from contract.transactions import changing, hold_picture, hold_tweets, hold_users, is_deleted
from contract.trial import Recommended
from contract.unsure import Unsure
from contract.vectors import VectorStore
from service.active import ActiveModel, ActiveModels
from service.batcher import MicroBatcher, Vector
from service.database import Database, StoredTweet
from service.errors import TweetConflict, UnknownAuthor
from service.fold_in import FoldIns
from service.metrics import Metrics
from service.pictures import Pictures
from service.schemas import PostedTweet

log = logging.getLogger(__name__)

ENCODE_SECONDS = 10
_CHECKED_SIZE = 224
_IDEMPOTENCY = uuid.UUID("9f0c8f0e-6f0b-4f5c-9a53-6a3f6a0f7a11")


@dataclass(frozen=True)
class Ingest:
    """The use case and the stores it works on.

    `behind` is set where a stored tweet could not be encoded, `leaving` where a deleted user could not be erased.
    """

    database: Database
    pictures: Pictures
    graph: OnlineGraph
    vectors: VectorStore
    models: ActiveModels
    batcher: MicroBatcher
    behind: asyncio.Event
    leaving: asyncio.Event
    fold_ins: FoldIns
    recommended: Recommended
    unsure: Unsure
    metrics: Metrics


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
    started = time.perf_counter()
    with parts.batcher.permit():
        model = parts.models.current
        await check_author(new, parts.database)
        image_HWC = await decode(new.image, model, parts.batcher)
        tweet = await store(new, parts)
        ready = await make_recommendable(tweet, image_HWC, model, parts)
        if ready:
            parts.metrics.tweet_to_candidate_seconds.observe(time.perf_counter() - started)
        await encode_beside(tweet, new.image, parts)
    return posted(tweet, model if ready else None)


def tweet_id_of_key(author_id: str, idempotency_key: str) -> str:
    """The id of the tweet that an author posts under an Idempotency-Key: the same key again is the same tweet."""
    return uuid.uuid5(_IDEMPOTENCY, f"{author_id}\n{idempotency_key}").hex


async def check_author(new: NewTweet, database: Database) -> None:
    """Raises UnknownAuthor."""
    if not await database.user_exists(new.author_id):
        raise UnknownAuthor(f"author_id {new.author_id} is not known: use the id of a user of the network")


async def decode(image: bytes, model: ActiveModel | None, batcher: MicroBatcher) -> npt.NDArray[np.uint8]:
    """The picture at the encoder's size, uint8 [H, W, C]. Raises ImageRejected."""
    size = _CHECKED_SIZE if model is None else model.manifest.preprocessing.image_size
    async with batcher.decoding:
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
        stored = await add_tweet(wanted, new.image, parts, is_given=new.tweet_id is not None)
    same = replace(wanted, created_at=new.created_at or stored.created_at, hidden_at=stored.hidden_at)
    if stored != same:
        raise TweetConflict(f"tweet_id {stored.tweet_id} is taken by another tweet: choose another id, or leave it out")
    return stored


async def add_tweet(tweet: StoredTweet, image: bytes, parts: Ingest, is_given: bool) -> StoredTweet:
    """Row and picture, or the row that has the id already.

    Raises TweetConflict where the id is of a deleted tweet: one that a client gave (`is_given`).
    """
    try:
        async with parts.pictures.turn(), changing(parts.database.engine) as connection:
            await hold_picture(connection, tweet.image_key)
            await connection.execute(insert(Tweet).values(**vars(tweet)))
            if is_given and await is_deleted(connection, tweet.tweet_id):
                raise TweetConflict(f"tweet_id {tweet.tweet_id} is that of a deleted tweet: choose another id")
            await parts.pictures.put(image)
    except IntegrityError:
        stored = await parts.database.tweet(tweet.tweet_id)
        if stored is None:
            if not await parts.database.user_exists(tweet.author_id):
                raise UnknownAuthor(f"author_id {tweet.author_id} was deleted meanwhile") from None
            raise TweetConflict(
                f"tweet_id {tweet.tweet_id} was taken, and deleted meanwhile: choose another id"
            ) from None
        return stored
    return tweet


async def make_recommendable(
    tweet: StoredTweet, image_HWC: npt.NDArray[np.uint8], model: ActiveModel | None, parts: Ingest
) -> bool:
    """Encode, then make it a candidate; False where no model serves or something fails: the backlog tries again."""
    if model is None or parts.batcher.busy_seconds > ENCODE_SECONDS:  # an encoder that hangs is waited for by nobody
        parts.behind.set()
        return False
    try:
        async with asyncio.timeout(ENCODE_SECONDS):
            z_D = await parts.batcher.encode(model, image_HWC, tweet.text)
            await make_candidate(tweet, z_D, model.version, parts)
    except Exception as error:  # the tweet is stored: whatever went wrong, it must not be reported as refused
        log.error("tweet %s is stored but not encoded yet: %r", tweet.tweet_id, error)
        parts.behind.set()
        return False
    if model not in (*parts.models.serving(), parts.models.upcoming):
        parts.behind.set()
    return True


async def encode_beside(tweet: StoredTweet, image: bytes, parts: Ingest) -> None:
    """Make it a candidate of the version on trial and of the one to come, too; what fails is left to the backlog."""
    for model in parts.models.beside():
        await make_recommendable(tweet, await decode(image, model, parts.batcher), model, parts)


async def make_candidate(tweet: StoredTweet, z_D: Vector, version: str, parts: Ingest) -> None:
    """Vector and timeline in Redis, the vector in SQL with the commit: the mark that all of it was done.

    A hidden tweet's vector stays in SQL; a tweet that was deleted meanwhile stays deleted.
    """
    async with parts.unsure.changing(parts.database.engine, "tweet", tweet.tweet_id) as connection:
        if not await hold_users(connection, [tweet.author_id]):  # they are being deleted
            return
        if not await hold_tweets(connection, [tweet.tweet_id]):
            return
        key = {"tweet_id": tweet.tweet_id, "version": version}
        encoded = select(TweetVector.version).filter_by(**key).exists()
        state = await connection.execute(select(Tweet.hidden_at, encoded).where(Tweet.tweet_id == tweet.tweet_id))
        hidden_at, is_encoded = state.one()
        if hidden_at is None:
            await parts.vectors.put_tweets(version, [tweet.tweet_id], z_D[None])
        else:
            await parts.vectors.forget_tweet([version], tweet.tweet_id)
        entry = TimelineEntry(tweet.tweet_id, tweet.author_id, to_ms(tweet.created_at))
        retweets = select(Retweet.user_id).where(Retweet.tweet_id == tweet.tweet_id)
        retweeters = list(await connection.scalars(retweets))
        await parts.graph.add_tweets([entry], {tweet.tweet_id: len(retweeters)})
        if not is_encoded:
            await connection.execute(insert(TweetVector).values(**key, vector=z_D.astype("<f2").tobytes()))
        await parts.fold_ins.changed(retweeters)  # who retweeted it before it had a vector


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
