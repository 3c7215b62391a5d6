"""Changes of the network that SQL and Redis must see in the same order.

Whoever writes to Redis what SQL has does so in a transaction that holds the row which owns it, before the commit: a
user's row owns whom they follow, what they retweeted and hid, and their timeline; a tweet's row owns its vectors. So
Redis never keeps the older of two changes, and a change that Redis refuses is not in SQL either. Who deletes a tweet
takes it from its owners once more afterwards, holding them. One thing is let go: counts of retweets are near.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Engine, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.ids import id_hash
from contract.tables import DeletedTweet, DeletedUser, Tweet, TweetVector, User

STAYS = User.leaving_at.is_(None)
"""A user who is being deleted is none any more (service/leaving.py)."""
LEAVERS = select(User.user_id).where(~STAYS).correlate(None)
"""Users who are being deleted: few, in an index of their own, so that leaving them out costs next to nothing."""
BY_USERS = Tweet.author_id.not_in(LEAVERS)
"""Neither are their tweets any: of an author who leaves."""


def is_pending(version: str) -> ColumnElement[bool]:
    """Whether a tweet has no vector under a version: NOT EXISTS, as PostgreSQL hashes no NOT IN of very many."""
    return ~exists().where(TweetVector.version == version, TweetVector.tweet_id == Tweet.tweet_id)


_turns: WeakKeyDictionary[Engine, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def changing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction in which `hold_users` and `hold_tweets` hold rows; SQLite lets one of them write at a time.

    Those of one process take turns on SQLite, first come first served. SQLite itself has no queue: each would look for
    the lock ever more seldom, and some for seconds in vain.
    """
    if engine.dialect.name == "sqlite":
        turn = _turns.setdefault(engine.sync_engine, asyncio.Lock())
        async with turn, engine.begin() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    else:
        async with engine.begin() as connection:
            await connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
            yield connection


async def hold_users(connection: AsyncConnection, user_ids: Sequence[str]) -> set[str]:
    """Those of the users that exist, held until the transaction ends. Hold users before tweets."""
    rows = select(User.user_id).where(User.user_id.in_(user_ids), STAYS).order_by(User.user_id)
    return set(await connection.scalars(rows.with_for_update(key_share=True)))


async def keep_users(connection: AsyncConnection, user_ids: Iterable[str]) -> set[str]:
    """Those of the users that exist; their rows are there until the transaction ends, though others may change them."""
    rows = select(User.user_id).where(User.user_id.in_(user_ids), STAYS).order_by(User.user_id)
    return set(await connection.scalars(rows.with_for_update(read=True, key_share=True)))


async def hold_tweets(connection: AsyncConnection, tweet_ids: Sequence[str], to_delete: bool = False) -> set[str]:
    """Those of the tweets that exist, held to the end: nobody hides, deletes or encodes them meanwhile.

    Who holds one to delete it waits for everybody who keeps it or refers to it, too.
    """
    rows = select(Tweet.tweet_id).where(Tweet.tweet_id.in_(tweet_ids)).order_by(Tweet.tweet_id)
    return set(await connection.scalars(rows.with_for_update(key_share=not to_delete)))


async def keep_tweets(connection: AsyncConnection, tweet_ids: Sequence[str]) -> set[str]:
    """Those of the tweets that exist; nobody deletes them before the transaction ends."""
    rows = select(Tweet.tweet_id).where(Tweet.tweet_id.in_(tweet_ids)).order_by(Tweet.tweet_id)
    return set(await connection.scalars(rows.with_for_update(read=True, key_share=True)))


async def hold_picture(connection: AsyncConnection, image_key: str) -> None:
    """Let nobody else add or remove a tweet with this picture until the transaction ends."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(image_key, 0))))


async def is_deleted(connection: AsyncConnection, tweet_id: str) -> bool:
    """Whether there was such a tweet and is no more."""
    deleted = select(DeletedTweet.tweet_id).where(DeletedTweet.tweet_id == tweet_id)
    return await connection.scalar(deleted) is not None


async def deleted_users(connection: AsyncConnection, user_ids: Iterable[str]) -> set[str]:
    """Those of the ids that are of deleted users, or of such who are being deleted."""
    by_hash = {id_hash(user_id): user_id for user_id in user_ids}
    known = select(DeletedUser.user_sha256).where(DeletedUser.user_sha256.in_(by_hash))
    return {by_hash[digest] for digest in await connection.scalars(known)}
