"""Tweets of the database that have no vector under a version yet: encoded, and stored in SQL by this process alone.

A row of tweet_vectors is the mark that a tweet is done: whatever is killed, what has one is not encoded again.

Shape suffix: D dimensions.
"""

from contextlib import closing
from dataclasses import dataclass, field, replace

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.parts import in_parts
from contract.progress import Progress
from contract.tables import Tweet, TweetVector
from contract.transactions import hold_tweets, is_pending
from contract.turns import take_turn
from training.encoding.engines import Encode
from training.encoding.shards import Encoded, Post, Refused, Shard, StoredShard
from training.errors import InputRejected
from training.stores import Stores

SHARD = 256
"""Tweets of a shard: what is encoded once more after a kill, and stored in one turn."""
_TWEETS_A_ROUND = 100_000
"""How many are in memory at a time, without their pictures."""


@dataclass
class Missing:
    """What became of tweets without a vector, but for those that were deleted or encoded by a service meanwhile."""

    stored: list[str] = field(default_factory=list)
    """Ids."""
    refused: list[Refused] = field(default_factory=list)
    """Whose pictures are missing or damaged."""
    picture_bytes: int = 0


async def encode_missing(
    stores: Stores, version: str, encode: Encode, progress: Progress, strict: bool = False
) -> Missing:
    """Encode and store them. `strict`: the first shard that lacks a picture is stored, and raises InputRejected."""
    missing, after = Missing(), ""
    while posts := await _missing(stores.engine, version, after):
        after = posts[-1].tweet_id
        parts = in_parts(posts, SHARD)
        shards: list[Shard] = [StoredShard(number, part, stores.blobs) for number, part in enumerate(parts)]
        with closing(encode(shards)) as found:
            for encoded in progress(found, len(shards), f"encode tweets (shards of {SHARD})"):
                missing.stored += await take_turn(stores.engine, store_vectors, version, _by_id(encoded))
                missing.refused += await _still_there(stores.engine, encoded.refused)
                missing.picture_bytes += encoded.picture_bytes
                if strict and missing.refused:
                    raise InputRejected(lacking(missing.refused, len(encoded.tweet_ids) + len(encoded.refused)))
    return missing


async def store_vectors(connection: AsyncConnection, version: str, vectors: dict[str, bytes]) -> list[str]:
    """Those of the tweets that are there still and have none."""
    held = await hold_tweets(connection, list(vectors))
    mine = TweetVector.version == version, TweetVector.tweet_id.in_(held)
    wanted = sorted(held - set(await connection.scalars(select(TweetVector.tweet_id).where(*mine))))
    if wanted:
        rows = [{"version": version, "tweet_id": tweet_id, "vector": vectors[tweet_id]} for tweet_id in wanted]
        await connection.execute(insert(TweetVector), rows)
    return wanted


async def _missing(engine: AsyncEngine, version: str, after: str) -> list[Post]:
    """The first of them behind an id, in the order of their ids."""
    rows = select(Tweet.tweet_id, Tweet.text, Tweet.image_key).where(is_pending(version), Tweet.tweet_id > after)
    async with engine.connect() as connection:
        found = await connection.execute(rows.order_by(Tweet.tweet_id).limit(_TWEETS_A_ROUND))
        return [Post(row, *values) for row, values in enumerate(found, start=1)]


def lacking(refused: list[Refused], looked_at: int) -> str:
    """What to say where so many tweets were looked at, and these lack their pictures."""
    more = f" ({len(refused):,} of {looked_at:,} tweets lack theirs)" if refused[1:] else ""
    return f"{refused[0].reason}: put the picture there, or check BLOB_URL{more}"


def _by_id(encoded: Encoded) -> dict[str, bytes]:
    vectors = zip(encoded.tweet_ids, encoded.z_KD, strict=True)
    return {tweet_id: z_D.astype("<f2").tobytes() for tweet_id, z_D in vectors}


async def _still_there(engine: AsyncEngine, refused: list[Refused]) -> list[Refused]:
    """A picture goes after its tweet. Texts are left out: no deletion of a tweet reaches a list of rejected rows."""
    if not refused:
        return []
    ids = [row.raw["tweet_id"] for row in refused]
    async with engine.connect() as connection:
        there = set(await connection.scalars(select(Tweet.tweet_id).where(Tweet.tweet_id.in_(ids))))
    return [
        replace(row, raw={name: row.raw[name] for name in ("tweet_id", "image")})
        for row in refused
        if row.raw["tweet_id"] in there
    ]
