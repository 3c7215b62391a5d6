"""What is in Redis, made what SQL has: the online graph, and a version's tweet vectors.

Shape suffixes: K tweets, D dimensions.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import func, insert, select, union_all
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import InstrumentedAttribute

from contract.artifact import Artifact, Manifest
from contract.graph import RECENT_LIMIT, SEEN_LIMIT, TIMELINE_LIMIT, OnlineGraph, TimelineEntry, UserState, to_ms
from contract.parts import in_parts
from contract.progress import Progress, silent
from contract.tables import Follow, Hide, Retweet, Tweet, TweetVector, User
from contract.transactions import BY_USERS, hold_tweets, hold_users
from contract.turns import take_turn
from contract.vectors import VectorStore
from contract.versions import version_names

Only = Callable[[str], bool]
"""Of which users or tweets: those whose part of a cluster lacks something."""

USERS_AT_A_TIME = 25
_VECTORS_AT_A_TIME = 500
_LOOKED_UP_AT_A_TIME = 1_000


async def rebuild_graph(
    engine: AsyncEngine, graph: OnlineGraph, progress: Progress = silent, only: Only | None = None
) -> None:
    """Replace the newest tweets of all, and what is online of every user; or the latter of some alone.

    Requests may write meanwhile: the users at hand are held, so that nobody's older state is written over a newer one.
    """
    if only is None:
        await _add_newest(engine, graph)
    async with engine.connect() as connection:
        user_ids = _those(await connection.scalars(select(User.user_id).order_by(User.user_id)), only)
    turns = in_parts(user_ids, USERS_AT_A_TIME)
    for part in progress(turns, len(turns), f"put users online (turns of {USERS_AT_A_TIME})"):
        await take_turn(engine, replace_users, graph, part)
    if only is None:
        await forget_what_is_gone(engine, graph)


def _those(ids: Iterable[str], only: Only | None) -> list[str]:
    return [id_ for id_ in ids if only is None or only(id_)]


async def _add_newest(engine: AsyncEngine, graph: OnlineGraph) -> None:
    async with engine.connect() as connection:
        entries = await newest_tweets(connection)
        ids = [entry.tweet_id for entry in entries]
        retweets = await count_retweets(connection, ids)
    await graph.add_recent(entries, {tweet_id: retweets.get(tweet_id, 0) for tweet_id in ids})


async def newest_tweets(connection: AsyncConnection) -> list[TimelineEntry]:
    """The newest RECENT_LIMIT of the whole service, newest first."""
    tweets = select(Tweet.tweet_id, Tweet.author_id, Tweet.created_at).where(BY_USERS)
    newest = tweets.order_by(Tweet.created_at.desc())
    rows = await connection.execute(newest.limit(RECENT_LIMIT))
    return [TimelineEntry(row.tweet_id, row.author_id, to_ms(row.created_at)) for row in rows]


async def count_retweets(connection: AsyncConnection, tweet_ids: Sequence[str]) -> dict[str, int]:
    """How often tweets were retweeted, of those that ever were; at most some thousand ids."""
    of_them = select(Retweet.tweet_id, func.count().label("times")).where(Retweet.tweet_id.in_(tweet_ids))
    return {row.tweet_id: row.times for row in await connection.execute(of_them.group_by(Retweet.tweet_id))}


async def replace_users(connection: AsyncConnection, graph: OnlineGraph, user_ids: Sequence[str]) -> list[UserState]:
    """Replace what is online of some users, who are held until the transaction ends; those that exist, as they are."""
    held = sorted(await hold_users(connection, user_ids))
    states = await user_states(connection, held)
    await graph.replace_users(states)
    return states


async def write_vectors(
    engine: AsyncEngine,
    vectors: VectorStore,
    exported: Artifact,
    progress: Progress = silent,
    only: Only | None = None,
) -> None:
    """A version's vectors: of users whom it was trained on, and of the tweets that SQL has some of."""
    await copy_user_vectors(engine, vectors, exported, progress, only)
    await copy_tweet_vectors(engine, vectors, exported.manifest, progress=progress, only=only)


async def copy_user_vectors(
    engine: AsyncEngine,
    vectors: VectorStore,
    exported: Artifact,
    progress: Progress = silent,
    only: Only | None = None,
) -> None:
    """The vectors of users whom a version was trained on, but of those who were deleted since."""
    turns = in_parts(_those(exported.user_ids, only), _VECTORS_AT_A_TIME)
    for part in progress(turns, len(turns), f"copy user vectors to Redis (turns of {_VECTORS_AT_A_TIME})"):
        await take_turn(engine, _copy_users, vectors, exported, part)


async def _copy_users(
    connection: AsyncConnection, vectors: VectorStore, exported: Artifact, user_ids: Sequence[str]
) -> None:
    """Some of them, held while they are copied."""
    held = sorted(await hold_users(connection, user_ids))
    rows = [exported.row_of_user[user_id] for user_id in held]
    await vectors.put_users(exported.manifest.version, held, exported.user_vectors_UD[rows])


async def copy_tweet_vectors(
    engine: AsyncEngine,
    vectors: VectorStore,
    manifest: Manifest,
    tweet_ids: Sequence[str] | None = None,
    progress: Progress = silent,
    only: Only | None = None,
) -> None:
    """The vectors of this version from SQL to Redis (None: of all tweets), but for hidden tweets' ones."""
    if tweet_ids is None:
        encoded = select(TweetVector.tweet_id).where(TweetVector.version == manifest.version)
        async with engine.connect() as connection:
            tweet_ids = list(await connection.scalars(encoded.order_by(TweetVector.tweet_id)))
    tweet_ids = _those(tweet_ids, only)
    turns = in_parts(tweet_ids, _VECTORS_AT_A_TIME)
    for part in progress(turns, len(turns), f"copy tweet vectors to Redis (turns of {_VECTORS_AT_A_TIME})"):
        await take_turn(engine, _copy_some, vectors, manifest, part)


async def _copy_some(
    connection: AsyncConnection, vectors: VectorStore, manifest: Manifest, tweet_ids: Sequence[str]
) -> None:
    """Some of them, held while they are copied."""
    held = await hold_tweets(connection, tweet_ids)
    shown = (
        select(TweetVector.tweet_id, TweetVector.vector)
        .join(Tweet, Tweet.tweet_id == TweetVector.tweet_id)
        .where(TweetVector.version == manifest.version, Tweet.tweet_id.in_(held), Tweet.hidden_at.is_(None))
    )
    rows = (await connection.execute(shown)).all()
    vectors_KD = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f2").reshape(-1, manifest.dim)
    await vectors.put_tweets(manifest.version, [row.tweet_id for row in rows], vectors_KD)
    await vectors.forget_tweets([manifest.version], sorted(held - {row.tweet_id for row in rows}))


async def forget_the_deleted(
    engine: AsyncEngine, graph: OnlineGraph, vectors: VectorStore, only: Only | None = None
) -> None:
    """Take away what is online of users and tweets that SQL has not: a Redis that forgot a deletion has it again."""
    for online in (graph.user_ids(), vectors.user_ids()):
        async for some in _parts_of(online, only):
            for user_id in await _gone(engine, User.user_id, some):
                await take_turn(engine, forget_user_unless_there, graph, vectors, user_id)
    async with engine.connect() as connection:
        versions = await version_names(connection)
    async for some in _parts_of(vectors.tweet_ids(), only):
        await vectors.forget_tweets(versions, await _gone(engine, Tweet.tweet_id, some))


async def _parts_of(ids: AsyncIterator[str], only: Only | None) -> AsyncIterator[set[str]]:
    some: set[str] = set()
    async for id_ in ids:
        some.update(_those([id_], only))
        if len(some) == _LOOKED_UP_AT_A_TIME:
            yield some
            some = set()
    yield some


async def _gone(engine: AsyncEngine, column: InstrumentedAttribute[str], ids: set[str]) -> list[str]:
    """Those that a table has not."""
    async with engine.connect() as connection:
        return sorted(ids.difference(await connection.scalars(select(column).where(column.in_(ids)))))


async def forget_user_unless_there(
    connection: AsyncConnection, graph: OnlineGraph, vectors: VectorStore, user_id: str
) -> bool:
    """Whether SQL has no such user, so that what is online of them was taken away. Nobody makes them meanwhile."""
    try:
        async with connection.begin_nested() as attempt:
            await connection.execute(insert(User).values(user_id=user_id, created_at=datetime.now(UTC)))
            await graph.remove_user(user_id)
            await vectors.forget_user(await version_names(connection), user_id)
            await attempt.rollback()
    except IntegrityError:
        return False
    return True


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
    timelines = await newest_timelines(connection, user_ids, TIMELINE_LIMIT)
    return [
        UserState(
            user_id=user_id,
            followee_ids=[row.followee_id for row in followees[user_id]],
            seen=seen[user_id],
            hidden=hidden[user_id],
            timeline=timelines[user_id],
        )
        for user_id in user_ids
    ]


async def newest_timelines(
    connection: AsyncConnection, user_ids: list[str], limit: int
) -> dict[str, list[TimelineEntry]]:
    """What some users posted and retweeted, newest first."""
    rows = _by_owner(await connection.execute(newest_per_owner(timeline_rows(user_ids), limit)))
    return {
        user_id: [TimelineEntry(row.tweet_id, row.author_id, to_ms(row.at)) for row in rows[user_id]]
        for user_id in user_ids
    }


def timeline_rows(user_ids: list[str]) -> Any:
    """What users posted and retweeted: owner, tweet, author, at."""
    posted = select(
        Tweet.author_id.label("owner"), Tweet.tweet_id, Tweet.author_id.label("author_id"), Tweet.created_at.label("at")
    ).where(Tweet.author_id.in_(user_ids), BY_USERS)
    retweeted = (
        select(Retweet.user_id, Retweet.tweet_id, Tweet.author_id, Retweet.created_at)
        .join(Tweet, Tweet.tweet_id == Retweet.tweet_id)
        .where(Retweet.user_id.in_(user_ids), BY_USERS)
    )
    return select(union_all(posted, retweeted).subquery())


def newest_per_owner(rows: Any, limit: int) -> Any:
    """The newest rows of each owner, newest first."""
    table = rows.subquery()
    place = func.row_number().over(partition_by=table.c.owner, order_by=(table.c.at.desc(), table.c.tweet_id.desc()))
    placed = select(table, place.label("place")).subquery()
    return select(placed).where(placed.c.place <= limit).order_by(placed.c.place)


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
