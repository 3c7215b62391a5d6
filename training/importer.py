"""A dataset folder (docs/dataset.md) into the database, the blob store and the online graph.

Everything is checked before anything is stored, and the rows are stored in one transaction. Rows may refer to users and
tweets that the database has already. Importing the same folder again adds nothing.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.blobs import BlobStore, blob_key
from contract.graph import OnlineGraph
from contract.preprocessing import decode_image
from contract.tables import Base, DeletedTweet, Follow, Retweet, Tweet, User
from training.dataset.folder import Dataset, Known, KnownTweet, read_dataset, read_exposures
from training.dataset.rejects import Rejects
from training.dataset.rows import Key, Row
from training.errors import InputRejected
from training.online import rebuild_graph
from training.progress import Progress, silent
from training.stores import Stores

_CHECKED_SIZE = 32
_CHUNK = 5_000

R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class ImportReport:
    """New rows by table, rows that were stored already, exposures (checked, not stored), rejected rows by table."""

    users: int
    follows: int
    tweets: int
    retweets: int
    known: int = 0
    exposures: int | None = None
    rejected: dict[str, int] = field(default_factory=dict)


async def import_dataset(folder: Path, stores: Stores, progress: Progress, rejects_file: Path | None) -> ImportReport:
    """Check, list the bad rows, store the pictures, store the rows, show them online.

    Bad rows are left out and listed in `rejects_file`; None: the first one raises InputRejected.
    Raises InputRejected where a table cannot be read as a whole or no row is good. Where it raises, nothing is known.
    """
    known = await read_known(stores.engine)
    rejects = Rejects(strict=rejects_file is None)
    dataset = read_dataset(folder, known, rejects, checked_picture_key, progress)
    exposures = read_exposures(folder, known, dataset, rejects)
    exposure_count = None if exposures is None else sum(1 for _ in exposures)
    if rejects_file is not None:
        list_rejects(rejects, rejects_file)
        refuse_nothing_good(folder, dataset, rejects, rejects_file)
    store_pictures(folder, dataset, stores.blobs, progress)
    report = await store_rows(stores.engine, dataset, known)
    store_pictures(folder, dataset, stores.blobs, silent)  # again: one may just have gone with its last tweet
    await rebuild_graph(stores.engine, OnlineGraph(stores.redis, stores.namespace))
    return replace(report, exposures=exposure_count, rejected=rejects.counts())


async def read_known(engine: AsyncEngine) -> Known:
    """What the database has."""
    async with engine.connect() as connection:
        users = await connection.execute(select(User.user_id))
        follows = await connection.execute(select(Follow.follower_id, Follow.followee_id))
        tweets = await connection.execute(
            select(Tweet.tweet_id, Tweet.author_id, Tweet.text, Tweet.image_key, Tweet.created_at)
        )
        retweets = await connection.execute(select(Retweet.user_id, Retweet.tweet_id))
        deleted = await connection.scalars(select(DeletedTweet.tweet_id))
        return Known(
            users={(row.user_id,) for row in users},
            follows={(row.follower_id, row.followee_id) for row in follows},
            tweets={(row[0],): KnownTweet(*row[1:]) for row in tweets},
            retweets={(row.user_id, row.tweet_id) for row in retweets},
            deleted_tweets={(tweet_id,) for tweet_id in deleted},
        )


def checked_picture_key(data: bytes) -> str:
    """The blob key of a picture. Raises ImageRejected where it cannot be decoded."""
    decode_image(data, _CHECKED_SIZE)
    return blob_key(data)


def list_rejects(rejects: Rejects, path: Path) -> None:
    """Write the list; an older one at the same place does not outlive an import without rejects."""
    if rejects.rows or path.exists():
        rejects.write(path)


def refuse_nothing_good(folder: Path, dataset: Dataset, rejects: Rejects, rejects_file: Path) -> None:
    """Raises InputRejected where there are rows and all are rejected."""
    if rejects.rows and not (dataset.users or dataset.follows or dataset.tweets or dataset.retweets):
        raise InputRejected(
            f"{folder}: all {len(rejects.rows):,} rows are rejected, the first is {rejects.rows[0]} "
            f"(all are listed in {rejects_file})"
        )


def store_pictures(folder: Path, dataset: Dataset, blobs: BlobStore, progress: Progress) -> None:
    """Put every picture into the blob store that is not there."""
    for key, tweet in progress(dataset.tweets.items(), len(dataset.tweets), "store pictures"):
        if not blobs.exists(dataset.image_keys[key]):
            blobs.put((folder / tweet.image).read_bytes())


async def store_rows(engine: AsyncEngine, dataset: Dataset, known: Known) -> ImportReport:
    """Insert what is not stored yet, in one transaction."""
    images = {key: {"image_key": image_key} for key, image_key in dataset.image_keys.items()}
    async with engine.begin() as connection:
        users = await _insert(connection, User, _new(dataset.users, known.users))
        follows = await _insert(connection, Follow, _new(dataset.follows, known.follows))
        tweets = await _insert(connection, Tweet, _new(dataset.tweets, known.tweets, images))
        retweets = await _insert(connection, Retweet, _new(dataset.retweets, known.retweets))
    read = len(dataset.users) + len(dataset.follows) + len(dataset.tweets) + len(dataset.retweets)
    return ImportReport(users, follows, tweets, retweets, known=read - users - follows - tweets - retweets)


def _new(
    rows: dict[Key, R], known: set[Key] | dict[Key, Any], more: dict[Key, dict[str, str]] | None = None
) -> list[dict[str, Any]]:
    values = {key: row.model_dump(exclude={"image"}) for key, row in rows.items() if key not in known}
    return [value | (more[key] if more else {}) for key, value in values.items()]


async def _insert(connection: AsyncConnection, table: type[Base], values: list[dict[str, Any]]) -> int:
    for start in range(0, len(values), _CHUNK):
        await connection.execute(insert(table), values[start : start + _CHUNK])
    return len(values)
