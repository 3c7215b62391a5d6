"""The online graph in Redis, made what SQL has."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.graph import RECENT_LIMIT, SEEN_LIMIT, TIMELINE_LIMIT, OnlineGraph, TimelineEntry, UserState, to_ms
from contract.tables import Follow, Hide, Retweet, Tweet, User
from contract.transactions import hold_users
from training.turns import take_turn

_USERS_AT_A_TIME = 25


async def rebuild_graph(engine: AsyncEngine, graph: OnlineGraph) -> None:
    """Replace what is online of every user, and the newest tweets of all.

    Requests may write meanwhile: the users at hand are held, so that nobody's older state is written over a newer one.
    """
    async with engine.connect() as connection:
        user_ids = list(await connection.scalars(select(User.user_id).order_by(User.user_id)))
    for start in range(0, len(user_ids), _USERS_AT_A_TIME):
        part = user_ids[start : start + _USERS_AT_A_TIME]
        await take_turn(engine, _replace_users, graph, part)
    async with engine.connect() as connection:
        newest = select(Tweet.tweet_id, Tweet.author_id, Tweet.created_at).order_by(Tweet.created_at.desc())
        rows = (await connection.execute(newest.limit(RECENT_LIMIT))).all()
        ids = [row.tweet_id for row in rows]
        counted = (
            select(Retweet.tweet_id, func.count().label("times"))
            .where(Retweet.tweet_id.in_(ids))
            .group_by(Retweet.tweet_id)
        )
        retweets = {row.tweet_id: row.times for row in await connection.execute(counted)}
    entries = [TimelineEntry(row.tweet_id, row.author_id, to_ms(row.created_at)) for row in rows]
    await graph.add_recent(entries, {tweet_id: retweets.get(tweet_id, 0) for tweet_id in ids})
    await forget_what_is_gone(engine, graph)


async def _replace_users(connection: AsyncConnection, graph: OnlineGraph, user_ids: list[str]) -> None:
    held = sorted(await hold_users(connection, user_ids))
    await graph.replace_users(await user_states(connection, held))


async def forget_what_is_gone(engine: AsyncEngine, graph: OnlineGraph) -> None:
    """Take from the newest tweets those that SQL has no more."""
    online = await graph.recent()
    async with engine.connect() as connection:
        there = set(
            await connection.scalars(
                select(Tweet.tweet_id).where(Tweet.tweet_id.in_([entry.tweet_id for entry in online]))
            )
        )
    for entry in online:
        if entry.tweet_id not in there:
            await graph.remove_tweet(entry, {entry.author_id})


async def user_states(connection: AsyncConnection, user_ids: list[str]) -> list[UserState]:
    """What SQL has of some users, newest first and within the online graph's bounds."""
    follows = await connection.execute(
        select(Follow.follower_id.label("owner"), Follow.followee_id).where(Follow.follower_id.in_(user_ids))
    )
    followees = _by_owner(follows)
    seen = await _times(connection, Retweet, user_ids)
    hidden = await _times(connection, Hide, user_ids)
    timelines = _by_owner(await connection.execute(newest_per_owner(timeline_rows(user_ids), TIMELINE_LIMIT)))
    return [
        UserState(
            user_id=user_id,
            followee_ids=[row.followee_id for row in followees[user_id]],
            seen=seen[user_id],
            hidden=hidden[user_id],
            timeline=[TimelineEntry(row.tweet_id, row.author_id, to_ms(row.at)) for row in timelines[user_id]],
        )
        for user_id in user_ids
    ]


def timeline_rows(user_ids: list[str]) -> Any:
    """What users posted and retweeted: owner, tweet, author, at."""
    posted = select(
        Tweet.author_id.label("owner"), Tweet.tweet_id, Tweet.author_id.label("author_id"), Tweet.created_at.label("at")
    ).where(Tweet.author_id.in_(user_ids))
    retweeted = (
        select(Retweet.user_id, Retweet.tweet_id, Tweet.author_id, Retweet.created_at)
        .join(Tweet, Tweet.tweet_id == Retweet.tweet_id)
        .where(Retweet.user_id.in_(user_ids))
    )
    return select(union_all(posted, retweeted).subquery())


def newest_per_owner(rows: Any, limit: int) -> Any:
    """The newest rows of each owner."""
    table = rows.subquery()
    place = func.row_number().over(partition_by=table.c.owner, order_by=(table.c.at.desc(), table.c.tweet_id.desc()))
    placed = select(table, place.label("place")).subquery()
    return select(placed).where(placed.c.place <= limit)


async def _times(
    connection: AsyncConnection, table: type[Retweet] | type[Hide], user_ids: list[str]
) -> dict[str, dict[str, int]]:
    rows = select(table.user_id.label("owner"), table.tweet_id, table.created_at.label("at"))
    newest = newest_per_owner(rows.where(table.user_id.in_(user_ids)), SEEN_LIMIT)
    by_owner = _by_owner(await connection.execute(newest))
    return {user_id: {row.tweet_id: to_ms(row.at) for row in by_owner[user_id]} for user_id in user_ids}


def _by_owner(rows: Iterable[Any]) -> defaultdict[str, list[Any]]:
    by_owner: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        by_owner[row.owner].append(row)
    return by_owner
