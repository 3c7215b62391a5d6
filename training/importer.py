"""A dataset folder (docs/dataset.md) into the database, the blob store and the online graph.

Everything is checked before anything is stored; then the rows are stored in short transactions, while a service may
write to the same stores. Rows may refer to users and tweets that the database has already. Importing the same folder
again adds nothing.
"""

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.blobs import blob_key
from contract.graph import OnlineGraph
from contract.preprocessing import decode_image
from contract.progress import Progress
from contract.rebuild import rebuild_graph
from contract.tables import DeletedTweet, DeletedUser, Follow, Hide, Retweet, Tweet, User
from contract.transactions import STAYS
from training.dataset.checks import Known, KnownTweet
from training.dataset.folder import Dataset, read_dataset, read_exposures
from training.dataset.rejects import Rejects
from training.errors import InputRejected
from training.stores import Stores
from training.storing import store_dataset

_CHECKED_SIZE = 32


@dataclass(frozen=True)
class ImportReport:
    """New rows by table, rows that were stored already, exposures (checked, not stored), rejected rows by table."""

    users: int
    follows: int
    tweets: int
    retweets: int
    hides: int = 0
    deleted_tweets: int = 0
    known: int = 0
    exposures: int | None = None
    rejected: dict[str, int] = field(default_factory=dict)


async def import_dataset(folder: Path, stores: Stores, progress: Progress, rejects_file: Path | None) -> ImportReport:
    """Check, list the bad rows, store the good ones, make what is online exactly that.

    Bad rows are left out and listed in `rejects_file`; None: the first one raises InputRejected.
    Raises InputRejected where a table cannot be read as a whole or no row is good; nothing is stored then. Where it
    raises later, a part is stored: the same import again goes on.
    """
    known = await read_known(stores.engine)
    rejects = Rejects(strict=rejects_file is None)
    dataset = read_dataset(folder, known, rejects, checked_picture_key, progress)
    exposures = read_exposures(folder, known, dataset, rejects)
    exposure_count = None if exposures is None else sum(1 for _ in exposures)
    checked = len(rejects.rows)
    if rejects_file is not None:
        list_rejects(rejects, rejects_file)
        refuse_nothing_good(folder, dataset, rejects, rejects_file)
    added = await store_dataset(folder, dataset, known, stores, rejects, progress)
    if rejects_file is not None:
        list_rejects(rejects, rejects_file)  # again: a service may have been faster with a row
    await rebuild_graph(stores.engine, OnlineGraph(stores.redis, stores.namespace), progress)
    stored_before = dataset.row_count() - (len(rejects.rows) - checked) - sum(added.values())
    return ImportReport(**added, known=stored_before, exposures=exposure_count, rejected=rejects.counts())


async def read_known(engine: AsyncEngine) -> Known:
    """What the database has."""
    async with engine.connect() as connection:
        users = await connection.execute(select(User.user_id).where(STAYS))
        follows = await connection.execute(select(Follow.follower_id, Follow.followee_id))
        tweets = await connection.execute(
            select(Tweet.tweet_id, Tweet.author_id, Tweet.text, Tweet.image_key, Tweet.created_at)
        )
        retweets = await connection.execute(select(Retweet.user_id, Retweet.tweet_id))
        hides = await connection.execute(select(Hide.user_id, Hide.tweet_id))
        deleted = await connection.scalars(select(DeletedTweet.tweet_id))
        return Known(
            users={(row.user_id,) for row in users},
            follows={(row.follower_id, row.followee_id) for row in follows},
            tweets={(row[0],): KnownTweet(*row[1:]) for row in tweets},
            retweets={(row.user_id, row.tweet_id) for row in retweets},
            hides={(row.user_id, row.tweet_id) for row in hides},
            deleted_tweets={(tweet_id,) for tweet_id in deleted},
            deleted_users=set(await connection.scalars(select(DeletedUser.user_sha256))),
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
    if rejects.rows and not dataset.row_count():
        raise InputRejected(
            f"{folder}: all {len(rejects.rows):,} rows are rejected, the first is {rejects.rows[0]} "
            f"(all are listed in {rejects_file})"
        )
