"""The IRM network and the model versions as SQL tables: the source of truth, which alembic/ migrates.

IRM network: the paper's image retweet modelling network of users, follows, image tweets and retweets (section 2).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Float, ForeignKey, Index, LargeBinary, String, Text, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator
from sqlalchemy.util.concurrency import in_greenlet

from contract.errors import StoreUnavailable
from contract.ids import MAX_ID_LENGTH
from contract.passwords import without_passwords

SCHEMA_REVISION = "0007"
"""The alembic revision that this code reads and writes."""

MIGRATE = "run `alembic upgrade head` (without the repository: `python -m contract.migrate`)"
"""What brings a database to it."""

_BY_BYTES = String(MAX_ID_LENGTH).with_variant(String(MAX_ID_LENGTH, collation="C"), "postgresql")
"""Ids are compared and sorted by their bytes, as SQLite does: not by the locale of PostgreSQL's database."""

_PATIENCE_SECONDS = 5
"""For a connection to a server: for one of the pool to be free, and for the server to take a new one.

A server that vanished without a word is given up after three times as long.
"""


_PATIENCE = "busy_timeout=10000"
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", _PATIENCE, "secure_delete=ON")
"""SQLite overwrites what is deleted: nothing of it is left in the file."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no time zone, so it is taken off there and put on again."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables; `Base.metadata` is alembic's target."""

    type_annotation_map = {
        str: _BY_BYTES,
        datetime: UtcDateTime,
        bytes: LargeBinary,
        float: Float,
        dict[str, Any]: JSON,
    }


_LEAVES = text("leaving_at IS NOT NULL")


class User(Base):
    """A person on the network."""

    __tablename__ = "users"
    __table_args__ = (Index("ix_users_leaving_at", "leaving_at", sqlite_where=_LEAVES, postgresql_where=_LEAVES),)

    user_id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    leaving_at: Mapped[datetime | None] = mapped_column(doc="since when they are gone for everybody, and being erased")


class Follow(Base):
    """follower_id sees what followee_id posts and retweets."""

    __tablename__ = "follows"
    __table_args__ = (Index("ix_follows_followee_id_follower_id", "followee_id", "follower_id"),)

    follower_id: Mapped[str] = mapped_column(ForeignKey("users.user_id"), primary_key=True)
    followee_id: Mapped[str] = mapped_column(ForeignKey("users.user_id"), primary_key=True)
    created_at: Mapped[datetime]


class Tweet(Base):
    """A picture with a few words."""

    __tablename__ = "tweets"
    __table_args__ = (
        Index("ix_tweets_author_id_created_at", "author_id", "created_at"),
        Index("ix_tweets_image_key", "image_key"),
    )

    tweet_id: Mapped[str] = mapped_column(primary_key=True)
    author_id: Mapped[str] = mapped_column(ForeignKey("users.user_id"))
    text: Mapped[str] = mapped_column(Text)
    image_key: Mapped[str] = mapped_column(doc="SHA-256 of the image's bytes: its key in the blob store")
    created_at: Mapped[datetime]
    hidden_at: Mapped[datetime | None] = mapped_column(doc="since when nobody is recommended it")


class Retweet(Base):
    """user_id passed tweet_id on to their followers."""

    __tablename__ = "retweets"
    __table_args__ = (
        Index("ix_retweets_tweet_id", "tweet_id"),
        Index("ix_retweets_recommended_by", "recommended_by"),
    )

    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id"), primary_key=True)
    tweet_id: Mapped[str] = mapped_column(ForeignKey("tweets.tweet_id"), primary_key=True)
    created_at: Mapped[datetime]
    recommended_by: Mapped[str | None] = mapped_column(doc="the version that did, while one was on trial")


class Hide(Base):
    """user_id does not want to be recommended tweet_id."""

    __tablename__ = "hides"
    __table_args__ = (Index("ix_hides_tweet_id", "tweet_id"),)

    user_id: Mapped[str] = mapped_column(ForeignKey("users.user_id"), primary_key=True)
    tweet_id: Mapped[str] = mapped_column(ForeignKey("tweets.tweet_id"), primary_key=True)
    created_at: Mapped[datetime]


class DeletedTweet(Base):
    """What is kept of a deleted tweet: its id, which no other can take, and its picture's until that is gone."""

    __tablename__ = "deleted_tweets"
    __table_args__ = (Index("ix_deleted_tweets_image_key", "image_key"),)

    tweet_id: Mapped[str] = mapped_column(primary_key=True)
    deleted_at: Mapped[datetime]
    image_key: Mapped[str | None]


class DeletedUser(Base):
    """What is kept of a deleted user: a hash of their id (`contract.ids.id_hash`), which no other can take."""

    __tablename__ = "deleted_users"

    user_sha256: Mapped[str] = mapped_column(primary_key=True)
    deleted_at: Mapped[datetime]


class ModelVersion(Base):
    """An exported model; the one activated last serves."""

    __tablename__ = "model_versions"

    version: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    activated_at: Mapped[datetime | None] = mapped_column(doc="None: never, or its vectors were deleted since")
    metrics: Mapped[dict[str, Any]]
    share: Mapped[float | None] = mapped_column(doc="of the users whom it serves on trial, 0 to 1; None: not on trial")
    on_trial_since: Mapped[datetime | None]


class TweetVector(Base):
    """A tweet's z under one model version: d little-endian fp16 values. A tweet without a row is pending."""

    __tablename__ = "tweet_vectors"

    version: Mapped[str] = mapped_column(ForeignKey("model_versions.version"), primary_key=True)
    tweet_id: Mapped[str] = mapped_column(ForeignKey("tweets.tweet_id"), primary_key=True)
    vector: Mapped[bytes]


class ApiKey(Base):
    """A bearer key of the service; `scopes` are words split by spaces; `per_minute`: how often it may ask."""

    __tablename__ = "api_keys"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    scopes: Mapped[str]
    secret_sha256: Mapped[str]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    per_minute: Mapped[int | None]


def create_engine(sqlalchemy_url: str) -> AsyncEngine:
    """An async engine whose errors show no values; SQLite gets write-ahead logging, foreign keys, a wait for locks."""
    is_sqlite = sqlalchemy_url.startswith("sqlite")
    of_a_server: dict[str, Any] = {
        "pool_pre_ping": True,
        "pool_timeout": _PATIENCE_SECONDS,
        "connect_args": {
            "connect_timeout": _PATIENCE_SECONDS,
            "keepalives_idle": _PATIENCE_SECONDS,
            "keepalives_interval": _PATIENCE_SECONDS,
            "keepalives_count": 2,
            "tcp_user_timeout": 3 * _PATIENCE_SECONDS * 1_000,
        },
    }
    engine = create_async_engine(sqlalchemy_url, hide_parameters=True, **({} if is_sqlite else of_a_server))
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine.sync_engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            cursor = connection.cursor()
            for pragma in _PRAGMAS:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(engine.sync_engine, "invalidate")
        def free_locks(connection: Any, _record: object, _error: object) -> None:
            """Of a cancelled statement: closed with a cursor that is referred to still, it would keep them."""
            if in_greenlet():
                connection.rollback()

    return engine


async def empty_log(engine: AsyncEngine) -> None:
    """SQLite: write its log to the database and empty it, so that nothing that was deleted is left there.

    Where somebody reads an older state meanwhile it stays as it is, until the next time: others must not wait.
    """
    if engine.dialect.name == "sqlite":
        async with engine.connect() as connection:
            for pragma in ("busy_timeout=100", "wal_checkpoint(TRUNCATE)", _PATIENCE):
                await connection.exec_driver_sql(f"PRAGMA {pragma}")


@asynccontextmanager
async def open_database(sqlalchemy_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine whose database is reachable and has this code's schema; disposed of at the end.

    Raises StoreUnavailable where the URL is none, or the database cannot be reached or has another schema.
    """
    shown = without_passwords(sqlalchemy_url)
    try:
        engine = create_engine(sqlalchemy_url)
        if "@" in (engine.url.host or ""):
            raise ValueError  # of a password, and the server's name would be quoted
    except (SQLAlchemyError, ImportError, ValueError):  # which may quote a part of the password
        raise StoreUnavailable(
            f"DATABASE_URL cannot be used ({shown}): use postgresql:// or sqlite:///, with %-escapes in a password"
        ) from None
    try:
        try:
            async with engine.connect() as connection:
                found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).splitlines()[0]
            raise StoreUnavailable(
                f"database {shown} is not ready ({reason}): check DATABASE_URL and {MIGRATE}"
            ) from error
        if found != SCHEMA_REVISION:
            advice = "it is newer than this code: install the release that made it"
            if found is None or found < SCHEMA_REVISION:
                advice = MIGRATE
            has = "no schema" if found is None else f"schema {found}"
            raise StoreUnavailable(f"database {shown} has {has}, this code needs {SCHEMA_REVISION}: {advice}")
        yield engine
    finally:
        await engine.dispose()
