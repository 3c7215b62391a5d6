"""Bytes of a row in PostgreSQL, its indexes included."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import psycopg
from sqlalchemy import create_engine, insert, make_url, text

from benchmarks.site import DIM
from contract.tables import Base, Follow, ModelVersion, Retweet, Tweet, TweetVector, User

_FIRST = 1_234_567_890_000_000_000
_NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
_VERSION = "20260401T120000Z-0123456789ab"
_USERS = 20_000


def in_sql(url: str) -> Iterator[tuple[str, float]]:
    """Bytes of a row, with its share of the indexes."""
    with own_database(url) as mine:
        engine = create_engine(make_url(mine).set(drivername="postgresql+psycopg"))
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            for table, rows in network().items():
                for start in range(0, len(rows), 5_000):
                    connection.execute(insert(table), rows[start : start + 5_000])
        with engine.connect() as connection:
            for table, rows in network().items():
                if table is not ModelVersion:
                    found = connection.scalar(text(f"SELECT pg_total_relation_size('{table.__tablename__}')"))
                    yield table.__tablename__, float(found or 0) / len(rows)
        engine.dispose()


def network() -> dict[type[Base], list[dict[str, object]]]:
    """As many follows, tweets and retweets a user as the paper's network has."""
    generator = np.random.default_rng(0)
    users = [str(_FIRST + n) for n in range(_USERS)]
    tweets = [str(_FIRST + int(n)) for n in range(int(0.73 * _USERS))]

    def pairs(count: int, others: int) -> list[tuple[int, int]]:
        drawn = np.unique(generator.integers(0, [_USERS, others], (count, 2)), axis=0)
        return [(int(a), int(b)) for a, b in drawn]

    words = "a picture of the harbour this morning #boats #fog and nobody"
    vector = generator.uniform(-1.7, 1.7, DIM).astype("<f2").tobytes()
    return {
        User: [{"user_id": user, "created_at": _NOW} for user in users],
        Follow: [
            {"follower_id": users[a], "followee_id": users[b], "created_at": _NOW} for a, b in pairs(60_000, len(users))
        ],
        Tweet: [
            {
                "tweet_id": id_,
                "author_id": users[n],
                "text": words,
                "image_key": uuid.uuid4().hex * 2,
                "created_at": _NOW,
            }
            for n, id_ in enumerate(tweets)
        ],
        Retweet: [
            {"user_id": users[a], "tweet_id": tweets[b], "created_at": _NOW} for a, b in pairs(100_000, len(tweets))
        ],
        ModelVersion: [{"version": _VERSION, "created_at": _NOW, "metrics": {}}],
        TweetVector: [{"version": _VERSION, "tweet_id": id_, "vector": vector} for id_ in tweets],
    }


@contextmanager
def own_database(url: str) -> Iterator[str]:
    """Made on the server, and dropped."""
    name = f"itr_scale_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield make_url(url).set(database=name).render_as_string(hide_password=False)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
