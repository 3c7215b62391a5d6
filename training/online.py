"""The online graph in Redis, written anew from SQL."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.graph import OnlineGraph, TimelineEntry, to_ms
from contract.tables import Follow, Retweet, Tweet, User

_CHUNK = 5_000


async def rebuild_graph(engine: AsyncEngine, graph: OnlineGraph) -> None:
    """Write users, follows, timelines and retweets; what is there already stays as it is."""
    async for rows in _chunks(engine, select(User.user_id)):
        await graph.add_users(row.user_id for row in rows)
    async for rows in _chunks(engine, select(Follow.follower_id, Follow.followee_id)):
        await graph.add_follows((row.follower_id, row.followee_id) for row in rows)
    async for rows in _chunks(engine, select(Tweet.tweet_id, Tweet.author_id, Tweet.created_at)):
        await graph.add_tweets(TimelineEntry(row.tweet_id, row.author_id, to_ms(row.created_at)) for row in rows)
    retweets = select(Retweet.user_id, Retweet.tweet_id, Tweet.author_id, Retweet.created_at).join(
        Tweet, Tweet.tweet_id == Retweet.tweet_id
    )
    async for rows in _chunks(engine, retweets):
        await graph.add_retweets(
            (row.user_id, TimelineEntry(row.tweet_id, row.author_id, to_ms(row.created_at))) for row in rows
        )


async def _chunks(engine: AsyncEngine, query: Any) -> AsyncIterator[list[Any]]:
    async with engine.connect() as connection, connection.stream(query) as result:
        async for rows in result.partitions(_CHUNK):
            yield list(rows)
