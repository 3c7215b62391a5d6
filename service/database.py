"""The service's queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.tables import Retweet, Tweet, TweetVector, User
from contract.transactions import BY_USERS, STAYS, is_pending


@dataclass(frozen=True)
class StoredTweet:
    """A row of `tweets`."""

    tweet_id: str
    author_id: str
    text: str
    image_key: str
    created_at: datetime
    hidden_at: datetime | None = None


_COLUMNS = (Tweet.tweet_id, Tweet.author_id, Tweet.text, Tweet.image_key, Tweet.created_at, Tweet.hidden_at)


class Database:
    """SQLAlchemy errors pass through."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def check(self) -> None:
        """Raises SQLAlchemyError where the database does not answer."""
        async with self.engine.connect() as connection:
            await connection.execute(select(1))

    async def user_exists(self, user_id: str) -> bool:
        """Whether there is such a user."""
        async with self.engine.connect() as connection:
            return await connection.scalar(select(User.user_id).where(User.user_id == user_id, STAYS)) is not None

    async def tweet(self, tweet_id: str) -> StoredTweet | None:
        """A tweet by id."""
        async with self.engine.connect() as connection:
            found = await connection.execute(select(*_COLUMNS).where(Tweet.tweet_id == tweet_id, BY_USERS))
            row = found.one_or_none()
        return None if row is None else StoredTweet(*row)

    async def tweets(self, tweet_ids: Sequence[str]) -> dict[str, StoredTweet]:
        """Those of the tweets that there are, by id."""
        async with self.engine.connect() as connection:
            rows = await connection.execute(select(*_COLUMNS).where(Tweet.tweet_id.in_(tweet_ids), BY_USERS))
            return {row.tweet_id: StoredTweet(*row) for row in rows}

    async def encoded(self, tweet_ids: Sequence[str], version: str) -> set[str]:
        """Those of the tweets that were encoded under a version."""
        query = select(TweetVector.tweet_id).where(TweetVector.tweet_id.in_(tweet_ids), TweetVector.version == version)
        async with self.engine.connect() as connection:
            return set(await connection.scalars(query))

    async def vector(self, tweet_id: str, version: str) -> bytes | None:
        """A tweet's vector under a version, fp16."""
        query = select(TweetVector.vector).where(TweetVector.tweet_id == tweet_id, TweetVector.version == version)
        async with self.engine.connect() as connection:
            vector: bytes | None = await connection.scalar(query)
        return vector

    async def newest(self) -> tuple[datetime | None, datetime | None]:
        """When the newest retweet and the newest tweet were made; all are looked at."""
        async with self.engine.connect() as connection:
            retweeted = await connection.scalar(select(func.max(Retweet.created_at)))
            return retweeted, await connection.scalar(select(func.max(Tweet.created_at)))

    async def count_pending(self, version: str) -> int:
        """Tweets without a vector under a version; all are looked at."""
        pending = select(func.count()).select_from(Tweet).where(is_pending(version), BY_USERS)
        async with self.engine.connect() as connection:
            return await connection.scalar(pending) or 0

    async def pending_tweets(self, version: str, but: set[str], limit: int) -> list[StoredTweet]:
        """Tweets without a vector under a version, oldest first, leaving some out."""
        pending = select(*_COLUMNS).where(is_pending(version), Tweet.tweet_id.not_in(but), BY_USERS)
        async with self.engine.connect() as connection:
            rows = await connection.execute(pending.order_by(Tweet.created_at, Tweet.tweet_id).limit(limit))
            return [StoredTweet(*row) for row in rows]
