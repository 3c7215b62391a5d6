"""GET /tweets: what is stored of a tweet."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from contract.preprocessing import IMAGE_FORMATS
from service.database import StoredTweet
from service.errors import UnknownTweet
from service.ingest import Ingest
from service.schemas import StoredTweet as StoredTweetBody


@dataclass(frozen=True)
class Picture:
    """A tweet's picture as it was posted."""

    key: str
    data: bytes
    media_type: str


async def read_tweet(tweet_id: str, parts: Ingest) -> StoredTweetBody:
    """A tweet, and whether the active version knows it. Raises UnknownTweet."""
    found = await read_tweets([tweet_id], parts)
    if not found:
        raise _unknown(tweet_id)
    return found[0]


async def read_tweets(tweet_ids: Sequence[str], parts: Ingest) -> list[StoredTweetBody]:
    """Those of the tweets that there are, each once, in the order asked for."""
    model = parts.models.current
    stored = await parts.database.tweets(tweet_ids)
    encoded = set() if model is None else await parts.database.encoded(tweet_ids, model.version)
    return [
        _body(stored[tweet_id], model.version if model is not None and tweet_id in encoded else None)
        for tweet_id in dict.fromkeys(tweet_ids)
        if tweet_id in stored
    ]


async def read_picture(tweet_id: str, parts: Ingest) -> Picture:
    """A tweet's picture. Raises UnknownTweet."""
    tweet = await _need_tweet(tweet_id, parts)
    try:
        data = await parts.pictures.get(tweet.image_key)
    except FileNotFoundError:
        await _need_tweet(tweet_id, parts)  # deleted meanwhile
        raise
    return Picture(tweet.image_key, data, media_type(data))


def media_type(data: bytes) -> str:
    """The type of a picture that was taken in."""
    with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
        if image.format == "MPO":  # a JPEG with more pictures in it, as many phones make
            return "image/jpeg"
        return Image.MIME[image.format or ""]


async def _need_tweet(tweet_id: str, parts: Ingest) -> StoredTweet:
    tweet = await parts.database.tweet(tweet_id)
    if tweet is None:
        raise _unknown(tweet_id)
    return tweet


def _unknown(tweet_id: str) -> UnknownTweet:
    return UnknownTweet(f"tweet_id {tweet_id} is not known")


def _body(tweet: StoredTweet, version: str | None) -> StoredTweetBody:
    """`version`: the one that encoded it."""
    return StoredTweetBody(
        tweet_id=tweet.tweet_id,
        author_id=tweet.author_id,
        text=tweet.text,
        created_at=tweet.created_at,
        status="pending" if version is None else "ready",
        version=version,
        hidden=tweet.hidden_at is not None,
    )
