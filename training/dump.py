"""The whole network out of the database and the blob store, as a dataset folder that `import` reads (docs/dataset.md).

What is read is one snapshot: whatever is posted or deleted meanwhile, every row refers to rows that are there.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.blobs import BlobStore, blob_key
from contract.environment import StoreSettings
from contract.progress import Progress
from contract.tables import Base, DeletedTweet, Follow, Hide, Retweet, Tweet, User, open_database
from contract.transactions import STAYS
from training.dataset.rows import DeletedTweetRow, FollowRow, Format, HideRow, RetweetRow, Row, TweetRow, UserRow
from training.dataset.writing import writing
from training.errors import ExportFailed

_ROWS_AT_A_TIME = 5_000
_TWEETS_AT_A_TIME = 200
_PICTURES_AT_A_TIME = 16
_USERS = {"user_id", "follower_id", "followee_id", "author_id"}

Rows = Sequence[Mapping[str, Any]]


@dataclass
class ExportReport:
    """Rows by table, pictures and their bytes, and what was left out since it was deleted while the export ran."""

    rows: dict[str, int] = field(default_factory=dict)
    pictures: int = 0
    picture_bytes: int = 0
    deleted_meanwhile: dict[str, datetime] = field(default_factory=dict)


async def export_dataset(folder: Path, kind: Format, stores: StoreSettings, progress: Progress) -> ExportReport:
    """Write the network to a folder that is new or empty, whole or not at all.

    Raises ExportFailed where the folder is not empty, where another export writes it, or where a picture was lost.
    """
    folder = usable(folder)
    with drafted(folder) as draft:
        async with open_database(stores.sqlalchemy_url) as engine, snapshot(engine) as connection:
            export = Export(connection, engine, BlobStore(stores.image_store_url), draft, kind, progress)
            await export.tables()
    return export.report


def usable(folder: Path) -> Path:
    """The whole path of a folder that can become the export. Raises ExportFailed where it cannot."""
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ExportFailed(f"{folder} is not an empty folder: name a new one")
    if folder.is_mount():
        raise ExportFailed(f"{folder} is a mount point, which cannot be replaced: name a new folder inside it")
    return folder


@contextmanager
def drafted(folder: Path) -> Iterator[Path]:
    """A folder beside it to write to, renamed at the end; what an export that was killed left there is cleared.

    Raises ExportFailed where another export is at work.
    """
    draft = folder.with_name(f".{folder.name}.export")
    draft.mkdir(parents=True, exist_ok=True)
    lock = os.open(draft, os.O_RDONLY)
    try:
        _lock(lock, draft, folder)
        try:
            for left in draft.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield draft
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _lock(lock: int, draft: Path, folder: Path) -> None:
    """The kernel lets go of it however the process ends. A folder that was renamed meanwhile is another export's."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), draft.stat()):
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise ExportFailed(f"another export is writing {folder}: wait for it, or name another folder")


@asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that goes on seeing what was there at its first query; nobody waits for it."""
    async with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            await connection.exec_driver_sql("BEGIN")
        else:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        yield connection


class Export:
    """An export at work: tables in the order of their ids, whatever the database's collation."""

    def __init__(
        self,
        connection: AsyncConnection,
        engine: AsyncEngine,
        blobs: BlobStore,
        folder: Path,
        kind: Format,
        progress: Progress,
    ) -> None:
        self._connection, self._engine, self._blobs = connection, engine, blobs
        self._folder, self._kind, self._progress = folder, kind, progress
        self._lost: list[str] = []
        self._leaving: set[str] = set()
        self._left_out: set[str] = set()
        self.report = ExportReport()

    async def tables(self) -> None:
        """Everything; tweets before what refers to them. Raises ExportFailed where pictures were lost."""
        self._leaving = set(await self._connection.scalars(select(User.user_id).where(~STAYS)))
        await self._table("users", User, UserRow, self._of_who_stays)
        await self._table("follows", Follow, FollowRow, self._of_who_stays)
        await self._table("tweets", Tweet, TweetRow, self._with_pictures, _TWEETS_AT_A_TIME)
        self._refuse_lost()
        await self._table("retweets", Retweet, RetweetRow, self._of_written_tweets)
        await self._table("hides", Hide, HideRow, self._of_written_tweets)
        await self._table("deleted_tweets", DeletedTweet, DeletedTweetRow, _all, more=self._deleted_meanwhile())

    async def _table(
        self,
        name: str,
        table: type[Base],
        row_type: type[Row],
        chosen: Callable[[Rows], Awaitable[Rows]],
        size: int = _ROWS_AT_A_TIME,
        more: Rows = (),
    ) -> None:
        """Write what is chosen of a table, a part at a time, and some rows more in their places."""
        count = await self._connection.scalar(select(func.count()).select_from(table)) or 0
        parts = -(-count // size)
        shown = iter(self._progress(range(parts), parts, f"export {name} (parts of {size:,})"))
        keys = [column.name for column in inspect(table).primary_key]
        written = 0
        with writing(self._folder, name, row_type, self._kind) as write:
            async for rows in self._parts(table, size):
                next(shown, None)
                last = [rows[-1][key] for key in keys]
                due = [row for row in more if [row[key] for key in keys] < last]
                more = more[len(due) :]
                part = sorted([*due, *await chosen(rows)], key=lambda row: [row[key] for key in keys])
                write(part)
                written += len(part)
            next(shown, None)
            write(more)
        self.report.rows[name] = written + len(more)

    async def _parts(self, table: type[Base], size: int) -> AsyncIterator[Rows]:
        """All rows in the order of their keys' characters, by a cursor of the server's."""
        names = [column.name for column in inspect(table).columns]
        rows = select(*inspect(table).columns).order_by(*inspect(table).primary_key).execution_options(yield_per=size)
        async with self._connection.stream(rows) as result:
            async for part in result.partitions():
                yield [dict(zip(names, row, strict=True)) for row in part]

    async def _of_who_stays(self, rows: Rows) -> Rows:
        """Nothing that names a user who is being deleted."""
        return [row for row in rows if self._leaving.isdisjoint(row[name] for name in _USERS & row.keys())]

    async def _with_pictures(self, rows: Rows) -> Rows:
        """Tweets with the paths of their pictures, which are copied; those whose picture is gone are left out."""
        self._left_out.update(row["tweet_id"] for row in rows if row["author_id"] in self._leaving)
        rows = await self._of_who_stays(rows)
        keys = list(dict.fromkeys(row["image_key"] for row in rows))
        gone: set[str] = set()
        for start in range(0, len(keys), _PICTURES_AT_A_TIME):
            part = keys[start : start + _PICTURES_AT_A_TIME]
            sizes = await asyncio.gather(*(asyncio.to_thread(self._copy_picture, key) for key in part))
            gone.update(key for key, size in zip(part, sizes, strict=True) if size is None)
            self.report.pictures += sum(bool(size) for size in sizes)
            self.report.picture_bytes += sum(size or 0 for size in sizes)
        await self._explain_gone([row["tweet_id"] for row in rows if row["image_key"] in gone])
        return [{**row, "image": _picture_path(row["image_key"])} for row in rows if row["image_key"] not in gone]

    def _copy_picture(self, key: str) -> int | None:
        """Returns the bytes that were written, 0 where they are there; None where the blob store has others or none."""
        path = self._folder / _picture_path(key)
        if path.exists():
            return 0
        try:
            data = self._blobs.get(key)
        except FileNotFoundError:
            return None
        if blob_key(data) != key:
            return None
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(exist_ok=True)
        path.write_bytes(data)
        return len(data)

    async def _explain_gone(self, tweet_ids: list[str]) -> None:
        """Pictures go after the deletion's commit: what is deleted by now was deleted since the snapshot."""
        if not tweet_ids:
            return
        deleted = select(DeletedTweet.tweet_id, DeletedTweet.deleted_at).where(DeletedTweet.tweet_id.in_(tweet_ids))
        async with self._engine.connect() as connection:
            found = {row.tweet_id: row.deleted_at for row in await connection.execute(deleted)}
        self.report.deleted_meanwhile.update(found)
        self._lost += [tweet_id for tweet_id in tweet_ids if tweet_id not in found]

    def _refuse_lost(self) -> None:
        if self._lost:
            raise ExportFailed(
                f"the blob store has not the pictures, or damaged ones, of {len(self._lost):,} tweets "
                f"({', '.join(self._lost[:3])}{', ...' if self._lost[3:] else ''}): put the files back or delete these "
                "tweets, and export again"
            )

    async def _of_written_tweets(self, rows: Rows) -> Rows:
        written = [row for row in rows if row["tweet_id"] not in self._left_out | self.report.deleted_meanwhile.keys()]
        return await self._of_who_stays(written)

    def _deleted_meanwhile(self) -> Rows:
        found = sorted(self.report.deleted_meanwhile.items())
        return [{"tweet_id": tweet_id, "deleted_at": at} for tweet_id, at in found]


async def _all(rows: Rows) -> Rows:
    return rows


def _picture_path(key: str) -> str:
    """By content: safe on every file system, those too that take upper and lower case for the same."""
    return f"images/{key[:2]}/{key}"
