"""What users do beside posting: join, follow, retweet, hide; and each taken back. All of it may be sent twice.

SQL and Redis change together (contract/transactions.py, contract/unsure.py): the very next recommendation knows of it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.graph import MOST_FOLLOWEES, OnlineGraph, TimelineEntry, to_ms
from contract.tables import Follow, Hide, Retweet, Tweet, User
from contract.transactions import deleted_users, hold_users, keep_tweets, keep_users
from contract.unsure import Unsure
from service.errors import FollowLimit, InvalidChange, UnknownTweet, UnknownUser, UserDeleted
from service.fold_in import FoldIns
from service.trials import Trials


@dataclass(frozen=True)
class Changes:
    """The stores that know who follows and retweets whom."""

    engine: AsyncEngine
    unsure: Unsure
    graph: OnlineGraph
    fold_ins: FoldIns
    trials: Trials


@dataclass(frozen=True)
class Change:
    """Since when it holds, and whether this request made it so."""

    created_at: datetime
    new: bool


async def add_user(user_id: str, stores: Changes) -> Change:
    """Make a user known. Raises UserDeleted."""
    try:
        async with stores.unsure.changing(stores.engine, "user", user_id) as connection:
            change = await _add(connection, User, {"user_id": user_id}, datetime.now(UTC))
            held = await hold_users(connection, [user_id])
            if not held or await deleted_users(connection, [user_id]):
                raise UserDeleted(f"user_id {user_id} is that of a deleted user: choose another id")
            await stores.graph.add_users([user_id])
    except IntegrityError:  # another request made the same user at the same moment
        return await add_user(user_id, stores)
    return change


async def follow(follower_id: str, followee_id: str, stores: Changes) -> Change:
    """Let one user see what another posts and retweets. Raises UnknownUser, InvalidChange, FollowLimit."""
    if follower_id == followee_id:
        raise InvalidChange(f"followee_id {followee_id} is the user: nobody can follow themselves")
    async with stores.unsure.changing(stores.engine, "user", follower_id) as connection:
        await _hold_user(connection, follower_id)
        await _need_user(connection, followee_id)
        key = {"follower_id": follower_id, "followee_id": followee_id}
        change = await _add(connection, Follow, key, datetime.now(UTC))
        if change.new:
            await _check_limit(connection, follower_id)
        await stores.graph.add_follows([(follower_id, followee_id)])
        await stores.fold_ins.changed([follower_id])
    return change


async def unfollow(follower_id: str, followee_id: str, stores: Changes) -> None:
    """End it. Raises UnknownUser."""
    async with stores.unsure.changing(stores.engine, "user", follower_id) as connection:
        await _hold_user(connection, follower_id)
        await _need_user(connection, followee_id)
        await _remove(connection, Follow, {"follower_id": follower_id, "followee_id": followee_id})
        await stores.graph.remove_follow(follower_id, followee_id)
        await stores.fold_ins.changed([follower_id])


async def retweet(user_id: str, tweet_id: str, at: datetime | None, stores: Changes) -> Change:
    """Pass a tweet on to one's followers. Raises UnknownUser, UnknownTweet, InvalidChange (own, or before it)."""
    async with stores.unsure.changing(stores.engine, "user", user_id) as connection:
        await _hold_user(connection, user_id)
        post = await _need_tweet(connection, tweet_id)
        if post.author_id == user_id:
            raise InvalidChange(f"tweet_id {tweet_id} is the user's own, which is never recommended to them")
        moment = at or max(datetime.now(UTC), post.at)
        due_to = await stores.trials.made(user_id, tweet_id)
        key = {"user_id": user_id, "tweet_id": tweet_id}
        change = await _add(connection, Retweet, key, moment, recommended_by=due_to)
        if to_ms(change.created_at) < post.at_ms:
            raise InvalidChange(f"created_at {moment.isoformat()} is before the tweet's, {post.at.isoformat()}")
        entry = TimelineEntry(tweet_id, post.author_id, to_ms(change.created_at))
        await stores.graph.add_retweets([(user_id, entry)])
        if change.new:
            await stores.graph.count_retweet(tweet_id, 1)
        await stores.fold_ins.changed([user_id])
    if change.new and due_to is not None:
        stores.trials.count(due_to)
    return change


async def unretweet(user_id: str, tweet_id: str, stores: Changes) -> None:
    """Take a retweet back. Raises UnknownUser, UnknownTweet."""
    async with stores.unsure.changing(stores.engine, "user", user_id) as connection:
        await _hold_user(connection, user_id)
        post = await _need_tweet(connection, tweet_id)
        removed = await _remove(connection, Retweet, {"user_id": user_id, "tweet_id": tweet_id})
        if post.author_id != user_id:
            await stores.graph.remove_retweet(user_id, post)
        if removed:
            await stores.graph.count_retweet(tweet_id, -1)
        await stores.fold_ins.changed([user_id])


async def hide(user_id: str, tweet_id: str, stores: Changes) -> Change:
    """Recommend a tweet to this user no more. Raises UnknownUser, UnknownTweet."""
    async with stores.unsure.changing(stores.engine, "user", user_id) as connection:
        await _hold_user(connection, user_id)
        await _need_tweet(connection, tweet_id)
        change = await _add(connection, Hide, {"user_id": user_id, "tweet_id": tweet_id}, datetime.now(UTC))
        await stores.graph.hide(user_id, tweet_id, to_ms(change.created_at))
    return change


async def unhide(user_id: str, tweet_id: str, stores: Changes) -> None:
    """Recommend it again. Raises UnknownUser, UnknownTweet."""
    async with stores.unsure.changing(stores.engine, "user", user_id) as connection:
        await _hold_user(connection, user_id)
        await _need_tweet(connection, tweet_id)
        await _remove(connection, Hide, {"user_id": user_id, "tweet_id": tweet_id})
        await stores.graph.unhide(user_id, tweet_id)


async def _hold_user(connection: AsyncConnection, user_id: str) -> None:
    if not await hold_users(connection, [user_id]):
        raise UnknownUser(f"user_id {user_id} is not known: add it by POST /users")


async def _need_user(connection: AsyncConnection, user_id: str) -> None:
    """They stay until the transaction ends. Raises UnknownUser."""
    if not await keep_users(connection, [user_id]):
        raise UnknownUser(f"followee_id {user_id} is not known: add it by POST /users")


async def _need_tweet(connection: AsyncConnection, tweet_id: str) -> TimelineEntry:
    """The tweet as it was posted; it stays until the transaction ends. Raises UnknownTweet."""
    if not await keep_tweets(connection, [tweet_id]):
        raise UnknownTweet(f"tweet_id {tweet_id} is not known: post it by POST /tweets")
    row = (await connection.execute(select(Tweet.author_id, Tweet.created_at).where(Tweet.tweet_id == tweet_id))).one()
    return TimelineEntry(tweet_id, row.author_id, to_ms(row.created_at))


async def _check_limit(connection: AsyncConnection, user_id: str) -> None:
    count = select(func.count()).select_from(Follow).where(Follow.follower_id == user_id)
    if (await connection.scalar(count) or 0) > MOST_FOLLOWEES:
        raise FollowLimit(f"user_id {user_id} follows {MOST_FOLLOWEES:,} users already: end one first")


async def _add(
    connection: AsyncConnection, table: Any, key: dict[str, str], at: datetime, **more: str | None
) -> Change:
    known = await connection.scalar(select(table.created_at).filter_by(**key))
    if known is not None:
        return Change(known, new=False)
    await connection.execute(insert(table).values(**key, created_at=at, **more))
    return Change(at, new=True)


async def _remove(connection: AsyncConnection, table: Any, key: dict[str, str]) -> bool:
    result = await connection.execute(delete(table).filter_by(**key))
    return result.rowcount > 0
