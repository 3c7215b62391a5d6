"""Tweets that are to be recommended to nobody: hidden ones, which may come back, and deleted ones, which do not.

A candidate needs a vector in Redis: without it a tweet is gone from the very next answer, whatever timeline it is on.
"""

import asyncio
import logging
import random
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.graph import TimelineEntry, to_ms
from contract.parts import in_parts
from contract.tables import DeletedTweet, Hide, Retweet, Tweet, TweetVector
from contract.tasks import to_its_end
from contract.transactions import changing, hold_picture, hold_tweets, hold_users, is_deleted
from contract.versions import version_names
from service.errors import UnknownTweet
from service.ingest import Ingest

log = logging.getLogger(__name__)

_OWNERS_AT_A_TIME = 500
_FAILING = 4
_AT_ONCE_SECONDS = 3.0


async def hide_tweet(tweet_id: str, parts: Ingest) -> None:
    """Keep a tweet from everybody. Raises UnknownTweet."""
    async with parts.unsure.changing(parts.database.engine, "tweet", tweet_id) as connection:
        await _hold(connection, tweet_id)
        unhidden = update(Tweet).where(Tweet.tweet_id == tweet_id, Tweet.hidden_at.is_(None))
        await connection.execute(unhidden.values(hidden_at=datetime.now(UTC)))
        await _forget_vectors(connection, tweet_id, parts)


async def show_tweet(tweet_id: str, parts: Ingest) -> None:
    """Take it back. Raises UnknownTweet."""
    async with parts.unsure.changing(parts.database.engine, "tweet", tweet_id) as connection:
        await _hold(connection, tweet_id)
        await connection.execute(update(Tweet).where(Tweet.tweet_id == tweet_id).values(hidden_at=None))
        await put_vectors(tweet_id, await vectors_of(connection, tweet_id), parts)


async def delete_tweet(tweet_id: str, parts: Ingest) -> None:
    """Remove a tweet, its retweets and, where no other tweet shows it, its picture; again changes nothing.

    Raises UnknownTweet where there never was one.
    """
    async with parts.unsure.during("tweet", tweet_id):
        async with changing(parts.database.engine) as connection:
            if not await hold_tweets(connection, [tweet_id], to_delete=True):
                if await is_deleted(connection, tweet_id):
                    return
                raise UnknownTweet(f"tweet_id {tweet_id} is not known")
            tweet, owners = await _delete(connection, tweet_id, parts)
        await _sweep(tweet, owners, parts)
    if not await _remove_at_once(tweet.image_key, parts):
        parts.behind.set()


async def remove_pictures(parts: Ingest) -> int:
    """Remove the pictures of deleted tweets that could not be removed with them; returns how many are left.

    Where some in a row cannot be removed the store is down rather than one of them bad: the others wait.
    """
    named = select(DeletedTweet.image_key).where(DeletedTweet.image_key.is_not(None)).distinct()
    async with parts.database.engine.connect() as connection:
        keys = [key for key in await connection.scalars(named) if key is not None]
    random.shuffle(keys)  # else a few bad ones would keep the others behind them for ever
    left = failing = 0
    for done, key in enumerate(keys, 1):
        failing = 0 if await _remove_picture(key, parts) else failing + 1
        left += failing > 0
        if failing == _FAILING:
            return left + len(keys) - done
    return left


async def _remove_at_once(key: str, parts: Ingest) -> bool:
    """Whether that is done; where the store fails, or takes long, the background does it, so that nobody waits."""
    if parts.pictures.failing:
        return False
    removal = parts.pictures.removals.start(_remove_picture(key, parts))
    await asyncio.wait({removal}, timeout=_AT_ONCE_SECONDS)
    if not removal.done():
        parts.pictures.failing = True
        return False
    return removal.result()


async def _remove_picture(key: str, parts: Ingest) -> bool:
    """Unless a tweet shows it; whether that is done. Where it is not, the deleted tweet goes on naming the picture."""
    try:
        async with parts.pictures.turn(), changing(parts.database.engine) as connection:
            await hold_picture(connection, key)
            shown = await connection.scalar(select(Tweet.tweet_id).where(Tweet.image_key == key).limit(1))
            if shown is None:
                # else it might go on after somebody posted the same
                await to_its_end(parts.pictures.delete(key))
            await connection.execute(update(DeletedTweet).where(DeletedTweet.image_key == key).values(image_key=None))
    except Exception as error:  # of whatever kind of store
        log.error("picture %s of a deleted tweet cannot be removed yet: %r", key, error)
        return False
    return True


async def _delete(connection: AsyncConnection, tweet_id: str, parts: Ingest) -> tuple[Any, set[str]]:
    """Returns its row as it was, and of whom something online named it."""
    tweet = (await connection.execute(select(Tweet).where(Tweet.tweet_id == tweet_id))).one()
    owners = {tweet.author_id} | await retweeters_and_hiders(connection, tweet_id)
    await _forget_vectors(connection, tweet_id, parts)
    await parts.graph.remove_tweet(_post(tweet), owners)
    await parts.fold_ins.changed(owners)
    for of_tweet in (TweetVector, Retweet, Hide, Tweet):
        await connection.execute(delete(of_tweet).where(of_tweet.tweet_id == tweet_id))
    deleted = {"tweet_id": tweet_id, "deleted_at": datetime.now(UTC), "image_key": tweet.image_key}
    await connection.execute(insert(DeletedTweet).values(deleted))
    return tweet, owners


async def _sweep(tweet: Any, owners: set[str], parts: Ingest) -> None:
    """Once more, with the owners held: somebody may have written anew what was online of them before the deletion."""
    for some in in_parts(sorted(owners), _OWNERS_AT_A_TIME):
        async with changing(parts.database.engine) as connection:
            await hold_users(connection, some)
            await parts.graph.remove_tweet(_post(tweet), some)


def _post(tweet: Any) -> TimelineEntry:
    return TimelineEntry(tweet.tweet_id, tweet.author_id, to_ms(tweet.created_at))


async def _hold(connection: AsyncConnection, tweet_id: str) -> None:
    if not await hold_tweets(connection, [tweet_id]):
        raise UnknownTweet(f"tweet_id {tweet_id} is not known")


async def _forget_vectors(connection: AsyncConnection, tweet_id: str, parts: Ingest) -> None:
    """Of every version: a process that died before its commit may have left one that SQL does not know of."""
    await parts.vectors.forget_tweet(await version_names(connection), tweet_id)


async def retweeters_and_hiders(connection: AsyncConnection, tweet_id: str) -> set[str]:
    """Of whom, beside the author, something online names the tweet."""
    users: set[str] = set()
    for table in (Retweet, Hide):
        users.update(await connection.scalars(select(table.user_id).where(table.tweet_id == tweet_id)))
    return users


async def put_vectors(tweet_id: str, vectors: dict[str, bytes], parts: Ingest) -> None:
    """Write a tweet's vectors by version, as SQL has them, to Redis."""
    for version, vector in vectors.items():
        await parts.vectors.put_tweets(version, [tweet_id], np.frombuffer(vector, dtype="<f2")[None])


async def vectors_of(connection: AsyncConnection, tweet_id: str) -> dict[str, bytes]:
    """A tweet's vectors by version."""
    rows = select(TweetVector.version, TweetVector.vector).where(TweetVector.tweet_id == tweet_id)
    return {row.version: row.vector for row in await connection.execute(rows)}
