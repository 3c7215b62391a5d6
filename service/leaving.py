"""Users who are deleted: whatever names them goes from SQL, Redis and the pictures, and their id is taken for good.

Who is marked as leaving is no user any more for anybody, and neither are their tweets. The rest is erased in short
transactions: at once where that takes some seconds, else by whichever process finds them. Each step may be done again.
What is erased from exported models is the trainer's work (training/redaction.py).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from redis.exceptions import RedisError
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.ids import id_hash
from contract.parts import in_parts
from contract.tables import DeletedUser, Follow, Hide, Retweet, Tweet, User, empty_log
from contract.transactions import STAYS, changing, deleted_users, hold_users
from contract.versions import version_names
from service.errors import UnknownUser
from service.ingest import Ingest
from service.removal import delete_tweet

log = logging.getLogger(__name__)

Step = Callable[[str, Ingest], Awaitable[bool]]
"""Erases some of what there is of a user; whether there was any."""

AT_ONCE_SECONDS = 5.0
_AT_A_TIME = 100
_VECTORS_AT_A_TIME = 500


async def delete_user(user_id: str, parts: Ingest) -> bool:
    """Whether all is erased; where it is not yet, the background goes on. Again changes nothing. Raises UnknownUser."""
    if not await _mark(user_id, parts):
        return True
    try:
        async with asyncio.timeout(AT_ONCE_SECONDS):
            await _erase(user_id, parts)
    except (TimeoutError, SQLAlchemyError, RedisError) as error:  # it is certain to go: that must not be refused
        log.warning("a user is deleted but not erased yet: %r", error)
        parts.leaving.set()
        return False
    return True


async def erase_users(parts: Ingest) -> int:
    """Go on with those who are leaving; returns how many are not erased yet."""
    async with parts.database.engine.connect() as connection:
        leaving = list(await connection.scalars(select(User.user_id).where(~STAYS).order_by(User.leaving_at)))
    left = 0
    for user_id in leaving:
        try:
            await _erase(user_id, parts)
        except Exception as error:  # whatever it was, the others must not wait for this one
            log.warning("a user is deleted but not erased yet: %r", error)
            left += 1
    return left


async def _mark(user_id: str, parts: Ingest) -> bool:
    """Whether there is somebody to erase: who is marked, now or before."""
    async with parts.unsure.changing(parts.database.engine, "user", user_id) as connection:
        user = User.user_id == user_id
        if await hold_users(connection, [user_id]):
            now = datetime.now(UTC)
            await connection.execute(update(User).where(user).values(leaving_at=now))
            await connection.execute(insert(DeletedUser).values(user_sha256=id_hash(user_id), deleted_at=now))
            await _forget_online(connection, user_id, parts)
        elif await connection.scalar(select(User.user_id).where(user)) is None:
            if not await deleted_users(connection, [user_id]):
                raise UnknownUser(f"user_id {user_id} is not known")
            await _forget_online(connection, user_id, parts)  # a Redis that forgot its newest writes had it again
            return False
    return True


async def _erase(user_id: str, parts: Ingest) -> None:
    """All but what others add at the same moment: that is found by the database, which raises IntegrityError."""
    await _vectors_of_tweets(user_id, parts)
    in_steps: list[Step] = [_tweets, _retweets, _followers]
    for step in in_steps:
        while await step(user_id, parts):
            pass
    await _hides_and_follows(user_id, parts)
    await _user(user_id, parts)
    await empty_log(parts.database.engine)
    log.info("a deleted user is erased")


async def _vectors_of_tweets(user_id: str, parts: Ingest) -> None:
    """Nobody is recommended them from now on, however many they are."""
    async with parts.database.engine.connect() as connection:
        mine = list(await connection.scalars(select(Tweet.tweet_id).where(Tweet.author_id == user_id)))
        versions = await version_names(connection)
    for some in in_parts(mine, _VECTORS_AT_A_TIME):
        await parts.vectors.forget_tweets(versions, some)


async def _tweets(user_id: str, parts: Ingest) -> bool:
    async with parts.database.engine.connect() as connection:
        mine = select(Tweet.tweet_id).where(Tweet.author_id == user_id).limit(_AT_A_TIME)
        tweet_ids = list(await connection.scalars(mine))
    for tweet_id in tweet_ids:
        await delete_tweet(tweet_id, parts)
    return bool(tweet_ids)


async def _retweets(user_id: str, parts: Ingest) -> bool:
    async with changing(parts.database.engine) as connection:
        some = select(Retweet.tweet_id).where(Retweet.user_id == user_id).limit(_AT_A_TIME)
        mine = delete(Retweet).where(Retweet.user_id == user_id, Retweet.tweet_id.in_(some))
        tweet_ids = list(await connection.scalars(mine.returning(Retweet.tweet_id)))
        for tweet_id in tweet_ids:
            await parts.graph.count_retweet(tweet_id, -1)
    return bool(tweet_ids)


async def _hides_and_follows(user_id: str, parts: Ingest) -> None:
    async with changing(parts.database.engine) as connection:
        await connection.execute(delete(Hide).where(Hide.user_id == user_id))
        await connection.execute(delete(Follow).where(Follow.follower_id == user_id))


async def _followers(user_id: str, parts: Ingest) -> bool:
    """Those who follow the user do so no more."""
    async with changing(parts.database.engine) as connection:
        follower_ids = list(
            await connection.scalars(select(Follow.follower_id).where(Follow.followee_id == user_id).limit(_AT_A_TIME))
        )
        await hold_users(connection, follower_ids)
        for follower_id in follower_ids:
            await parts.graph.remove_follow(follower_id, user_id)
        await parts.fold_ins.changed(follower_ids)
        some = Follow.followee_id == user_id, Follow.follower_id.in_(follower_ids)
        await connection.execute(delete(Follow).where(*some))
    return bool(follower_ids)


async def _user(user_id: str, parts: Ingest) -> None:
    """The row: not before nothing refers to it."""
    async with changing(parts.database.engine) as connection:
        await connection.execute(delete(User).where(User.user_id == user_id, ~STAYS))
        await _forget_online(connection, user_id, parts)


async def _forget_online(connection: AsyncConnection, user_id: str, parts: Ingest) -> None:
    """The user's own keys, vectors of every version, and places on lists."""
    versions = await version_names(connection)
    await parts.graph.remove_user(user_id)
    await parts.vectors.forget_user(versions, user_id)
    await parts.fold_ins.forget(user_id)
    await parts.recommended.forget_user(versions, user_id)
