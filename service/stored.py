"""The online network as SQL and the exported models have it: where reads go while Redis does not answer.

Shape suffixes: K ids, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.graph import TIMELINE_LIMIT, TimelineEntry, UserView
from contract.parts import in_parts
from contract.rebuild import count_retweets, newest_timelines, newest_tweets, user_states
from contract.tables import Tweet, TweetVector, User
from contract.transactions import STAYS
from contract.vectors import Vectors
from service.active import ActiveModels

_AT_A_TIME = 500


@dataclass(frozen=True)
class StoredNetwork:
    """Answers what OnlineGraph and VectorStore answer; vectors that were folded in are in Redis alone.

    SQLAlchemy errors pass through.
    """

    engine: AsyncEngine
    models: ActiveModels

    async def user(self, user_id: str) -> UserView:
        """Whom a user follows, and what they retweeted or hid."""
        async with self.engine.connect() as connection:
            if await connection.scalar(select(User.user_id).where(User.user_id == user_id, STAYS)) is None:
                return UserView(exists=False, followee_ids=[], seen_tweet_ids=set())
            (state,) = await user_states(connection, [user_id])
        return state.view

    async def timelines(self, author_ids: Sequence[str], limit: int = TIMELINE_LIMIT) -> list[list[TimelineEntry]]:
        """Each author's timeline, newest first, at most `limit` entries."""
        found: list[list[TimelineEntry]] = []
        async with self.engine.connect() as connection:
            for some in in_parts(author_ids, _AT_A_TIME):
                timelines = await newest_timelines(connection, some, limit)
                found += [timelines[author_id] for author_id in some]
        return found

    async def recent(self) -> list[TimelineEntry]:
        """The newest tweets of the whole service, newest first."""
        async with self.engine.connect() as connection:
            return await newest_tweets(connection)

    async def retweet_counts(self, tweet_ids: Sequence[str]) -> list[int]:
        """How often each tweet was retweeted."""
        async with self.engine.connect() as connection:
            counts = await count_retweets(connection, tweet_ids)
        return [counts.get(tweet_id, 0) for tweet_id in tweet_ids]

    async def tweets(self, version: str, tweet_ids: Sequence[str], dim: int) -> tuple[list[str], Vectors]:
        """The ids that have a vector and are not hidden, in the order asked for, and their vectors, fp16 [K', D]."""
        stored: dict[str, bytes] = {}
        async with self.engine.connect() as connection:
            for some in in_parts(tweet_ids, _AT_A_TIME):
                shown = (
                    select(TweetVector.tweet_id, TweetVector.vector)
                    .join(Tweet, Tweet.tweet_id == TweetVector.tweet_id)
                    .where(TweetVector.version == version, Tweet.tweet_id.in_(some), Tweet.hidden_at.is_(None))
                )
                stored.update({row.tweet_id: row.vector for row in await connection.execute(shown)})
        found = [tweet_id for tweet_id in tweet_ids if tweet_id in stored]
        data = b"".join(stored[tweet_id] for tweet_id in found)
        return found, np.frombuffer(data, dtype="<f2").reshape(len(found), dim)

    async def users(self, version: str, user_ids: Sequence[str], dim: int) -> tuple[list[str], Vectors]:
        """The ids that a version was trained on, in the order asked for, and their vectors, fp16 [K', D]."""
        for model in self.models.serving():
            if model.version == version:
                rows = model.artifact.row_of_user
                found = [user_id for user_id in user_ids if user_id in rows]
                return found, model.artifact.user_vectors_UD[[rows[user_id] for user_id in found]]
        return [], np.empty((0, dim), dtype=np.float16)
