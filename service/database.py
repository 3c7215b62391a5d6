"""The service's queries."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.tables import Tweet, TweetVector, User


@dataclass(frozen=True)
class StoredTweet:
    """A row of `tweets`."""

    tweet_id: str
    author_id: str
    text: str
    image_key: str
    created_at: datetime


_COLUMNS = (Tweet.tweet_id, Tweet.author_id, Tweet.text, Tweet.image_key, Tweet.created_at)


class Database:
    """SQLAlchemy errors pass through."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def check(self) -> None:
        """Raises SQLAlchemyError where the database does not answer."""
        async with self._engine.connect() as connection:
            await connection.execute(select(1))

    async def user_exists(self, user_id: str) -> bool:
        """Whether there is such a user."""
        async with self._engine.connect() as connection:
            return await connection.scalar(select(User.user_id).where(User.user_id == user_id)) is not None

    async def add_tweet(self, tweet: StoredTweet) -> StoredTweet:
        """Store a tweet; returns the row of that id, which is another one where the id was taken."""
        try:
            async with self._engine.begin() as connection:
                await connection.execute(insert(Tweet).values(**vars(tweet)))
        except IntegrityError:
            stored = await self.tweet(tweet.tweet_id)
            if stored is None:
                raise
            return stored
        return tweet

    async def tweet(self, tweet_id: str) -> StoredTweet | None:
        """A tweet by id."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(*_COLUMNS).where(Tweet.tweet_id == tweet_id))).one_or_none()
        return None if row is None else StoredTweet(*row)

    async def has_vector(self, tweet_id: str, version: str) -> bool:
        """Whether the tweet was encoded under a version."""
        query = select(TweetVector.tweet_id).where(TweetVector.tweet_id == tweet_id, TweetVector.version == version)
        async with self._engine.connect() as connection:
            return await connection.scalar(query) is not None

    async def add_vector(self, tweet_id: str, version: str, vector: bytes) -> None:
        """Record a tweet as encoded; a second time changes nothing."""
        try:
            async with self._engine.begin() as connection:
                await connection.execute(insert(TweetVector).values(tweet_id=tweet_id, version=version, vector=vector))
        except IntegrityError:
            if not await self.has_vector(tweet_id, version):
                raise

    async def pending_tweets(self, version: str, but: set[str], limit: int) -> list[StoredTweet]:
        """Tweets without a vector under a version, oldest first, leaving some out."""
        encoded = select(TweetVector.tweet_id).where(TweetVector.version == version)
        pending = select(*_COLUMNS).where(Tweet.tweet_id.not_in(encoded), Tweet.tweet_id.not_in(but))
        async with self._engine.connect() as connection:
            rows = await connection.execute(pending.order_by(Tweet.created_at, Tweet.tweet_id).limit(limit))
            return [StoredTweet(*row) for row in rows]
