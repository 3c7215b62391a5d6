"""All that cannot be made anew (SQL, pictures, the models that serve) to a folder or an fsspec URL, and back.

    tables/NAME-00000.jsonl.gz   rows of a table, some thousand a file; times as ISO 8601, bytes as base64
    images/                      a store of pictures like the service's own
    models/VERSION/              exported models
    backup.json                  what there is, with its SHA-256; written last

SQL is read in one snapshot, while the service may run. Redis is not in it: it is written anew from the rest.
"""

import asyncio
import base64
import gzip
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import fsspec
from pydantic import BaseModel, ValidationError
from sqlalchemy import LargeBinary, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract import artifact
from contract.blobs import BlobStore, blob_key
from contract.parts import in_parts
from contract.progress import Progress
from contract.tables import SCHEMA_REVISION, Base, DeletedTweet, Tweet, UtcDateTime
from contract.versions import activated_last, kept_versions, known_versions
from training.dump import snapshot
from training.errors import BackupFailed
from training.stores import Stores

MANIFEST = "backup.json"
_ROWS_AT_A_TIME = 5_000
_PICTURES_AT_A_TIME = 16

Rows = Sequence[Mapping[Any, Any]]


class Backup(BaseModel):
    """`backup.json`."""

    form: Literal[1] = 1
    created_at: datetime
    schema_revision: str
    rows: dict[str, int]
    """By table."""
    files: dict[str, str]
    """SHA-256 of each file of rows."""
    pictures: int
    models: list[str]
    deleted_meanwhile: list[str]
    """Tweets that were deleted while it was made, with their pictures: they are not restored."""


class Place:
    """Where a backup is: a folder or an fsspec URL."""

    def __init__(self, url: str) -> None:
        """Raises BackupFailed where fsspec has no such protocol."""
        self.url = url
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise BackupFailed(f"{url} cannot be used: {error}") from error

    def path(self, name: str) -> str:
        """Of something in it."""
        return f"{self.root}/{name}"

    def write(self, name: str, data: bytes) -> str:
        """Write a file, and its SHA-256."""
        self.fs.makedirs(self.fs._parent(self.path(name)), exist_ok=True)
        self.fs.pipe_file(self.path(name), data)
        return hashlib.sha256(data).hexdigest()

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        data: bytes = self.fs.cat_file(self.path(name))
        return data

    def blobs(self) -> BlobStore:
        """Its pictures."""
        protocol = self.fs.protocol if isinstance(self.fs.protocol, str) else self.fs.protocol[0]
        return BlobStore(f"{protocol}://{self.path('images')}")


async def back_up(place: Place, models_dir: Path, stores: Stores, progress: Progress) -> Backup:
    """Write a backup; one that was interrupted goes on with the pictures that are missing.

    Raises BackupFailed where there is a backup already, or a picture or the active model is missing.
    """
    if place.fs.exists(place.path(MANIFEST)):
        raise BackupFailed(f"{place.url} has a backup already: name a new place")
    models = await copy_models(place, models_dir, stores, progress)
    async with snapshot(stores.engine) as connection:
        rows, files = await copy_tables(place, connection, progress)
        keys = sorted(set(await connection.scalars(select(Tweet.image_key))))
        deleted = await copy_pictures(place, keys, connection, stores, progress)
    backup = Backup(
        created_at=datetime.now(UTC),
        schema_revision=SCHEMA_REVISION,
        rows=rows,
        files=files,
        pictures=len(keys),
        models=models,
        deleted_meanwhile=deleted,
    )
    place.write(MANIFEST, backup.model_dump_json(indent=1).encode())
    return backup


async def copy_models(place: Place, models_dir: Path, stores: Stores, progress: Progress) -> list[str]:
    """The versions whose vectors are kept. Raises BackupFailed where the active one cannot be read."""
    known = await known_versions(stores.engine)
    versions = sorted(version for version in kept_versions(known) if (models_dir / version).is_dir())
    active = activated_last(known)
    if active is not None and active not in versions:
        raise BackupFailed(f"the active version {active} is not in {models_dir}: set MODELS_DIR")
    for version in progress(versions, len(versions), "back up models"):
        artifact.load(models_dir / version)
        for file in sorted(path for path in (models_dir / version).iterdir() if path.is_file()):
            target = place.path(f"models/{version}/{file.name}")
            place.fs.makedirs(place.fs._parent(target), exist_ok=True)
            await asyncio.to_thread(place.fs.put_file, str(file), target)
    return versions


async def copy_tables(
    place: Place, connection: AsyncConnection, progress: Progress
) -> tuple[dict[str, int], dict[str, str]]:
    """How many rows of each table, and the files with their SHA-256."""
    counts: dict[str, int] = {}
    files: dict[str, str] = {}
    for table in Base.metadata.sorted_tables:
        count = counts[table.name] = await connection.scalar(select(func.count()).select_from(table)) or 0
        parts = -(-count // _ROWS_AT_A_TIME)
        shown = iter(progress(range(parts), parts, f"back up {table.name} (parts of {_ROWS_AT_A_TIME:,})"))
        rows = select(table).execution_options(yield_per=_ROWS_AT_A_TIME)
        async with connection.stream(rows) as result:
            async for part in result.mappings().partitions():
                name = f"tables/{table.name}-{next(shown):05}.jsonl.gz"
                files[name] = await asyncio.to_thread(place.write, name, packed(table, part))
        next(shown, None)
    return counts, files


async def copy_pictures(
    place: Place, keys: Sequence[str], connection: AsyncConnection, stores: Stores, progress: Progress
) -> list[str]:
    """Those that are not there yet; returns tweets whose picture is gone since they were deleted meanwhile.

    Raises BackupFailed where one is gone that is not.
    """
    gone = [key async for key in copy_or_miss(keys, stores.blobs, place.blobs(), progress, "back up")]
    if not gone:
        return []
    tweets = set(await connection.scalars(select(Tweet.tweet_id).where(Tweet.image_key.in_(gone))))
    async with stores.engine.connect() as now:
        deleted = set(await now.scalars(select(DeletedTweet.tweet_id).where(DeletedTweet.tweet_id.in_(tweets))))
    if lost := sorted(tweets - deleted):
        raise BackupFailed(f"the pictures of {len(lost):,} tweets are lost or damaged, as of {lost[0]}: restore them")
    return sorted(deleted)


async def copy_or_miss(
    keys: Sequence[str], source: BlobStore, target: BlobStore, progress: Progress, what: str
) -> AsyncIterator[str]:
    """Copy the pictures that are not there yet; yields the keys of those that are missing or damaged."""
    parts = in_parts(keys, _PICTURES_AT_A_TIME)
    for part in progress(parts, len(parts), f"{what} pictures ({_PICTURES_AT_A_TIME} at a time)"):
        copied = await asyncio.gather(*(asyncio.to_thread(copy_picture, key, source, target) for key in part))
        for key, there in zip(part, copied, strict=True):
            if not there:
                yield key


def copy_picture(key: str, source: BlobStore, target: BlobStore) -> bool:
    """Whether it is there, as its key says."""
    if target.exists(key):
        return True
    try:
        data = source.get(key)
    except FileNotFoundError:
        return False
    return blob_key(data) == key and target.put(data) == key


async def restore(place: Place, models_dir: Path, stores: Stores, progress: Progress) -> Backup:
    """Write a backup into empty stores: models and pictures first, then SQL in one transaction.

    Redis is to be written afterwards (`training.publish.rebuild_redis`). May be run again after an interruption.
    Raises BackupFailed where there is no backup, it is of another schema or damaged, or the database is not empty.
    """
    backup = await asyncio.to_thread(read_backup, place)
    await refuse_rows(stores)
    for version in progress(backup.models, len(backup.models), "restore models"):
        await asyncio.to_thread(restore_model, place, version, models_dir)
    async with stores.engine.begin() as connection:
        keys: set[str] = set()
        for table in Base.metadata.sorted_tables:
            names = sorted(name for name in backup.files if name.startswith(f"tables/{table.name}-"))
            for name in progress(names, len(names), f"restore {table.name} (parts of {_ROWS_AT_A_TIME:,})"):
                data = await asyncio.to_thread(checked, place, name, backup)
                rows = [row for row in unpacked(table, data) if row.get("tweet_id") not in backup.deleted_meanwhile]
                if rows:
                    await connection.execute(insert(table), rows)
                if table.name == Tweet.__tablename__:
                    keys.update(row["image_key"] for row in rows)
        if backup.deleted_meanwhile:
            ids = [{"tweet_id": id_, "deleted_at": backup.created_at} for id_ in backup.deleted_meanwhile]
            await connection.execute(insert(DeletedTweet), ids)
        await restore_pictures(place, sorted(keys), stores, progress)
    return backup


def read_backup(place: Place) -> Backup:
    """Raises BackupFailed."""
    try:
        backup = Backup.model_validate_json(place.read(MANIFEST))
    except FileNotFoundError as error:
        raise BackupFailed(f"{place.url} has no whole backup: {MANIFEST} is missing") from error
    except ValidationError as error:
        raise BackupFailed(f"{place.url}/{MANIFEST} cannot be read: {error.errors()[0]['msg']}") from error
    if backup.schema_revision != SCHEMA_REVISION:
        raise BackupFailed(
            f"the backup has schema {backup.schema_revision}, this code {SCHEMA_REVISION}: restore it with the release "
            "that made it, and run `alembic upgrade head` then"
        )
    return backup


async def refuse_rows(stores: Stores) -> None:
    """Raises BackupFailed where the database has any."""
    async with stores.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if await connection.scalar(select(func.count()).select_from(table)):
                raise BackupFailed(f"the database has {table.name} already: restore into an empty one")


def restore_model(place: Place, version: str, models_dir: Path) -> None:
    """A folder, whole or not at all; one that is there stays. Raises ArtifactInvalid where it is damaged."""
    folder = models_dir / version
    if folder.exists():
        artifact.load(folder)
        return
    draft = models_dir / f".{version}.restore"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for path in place.fs.ls(place.path(f"models/{version}"), detail=False):
        place.fs.get_file(path, str(draft / Path(path).name))
    artifact.load(draft)
    draft.rename(folder)


async def restore_pictures(place: Place, keys: Sequence[str], stores: Stores, progress: Progress) -> None:
    """Those that are not there yet. Raises BackupFailed where one is missing or damaged."""
    async for key in copy_or_miss(keys, place.blobs(), stores.blobs, progress, "restore"):
        raise BackupFailed(f"{place.url}: picture {key} is missing or damaged")


def checked(place: Place, name: str, backup: Backup) -> bytes:
    """A file of rows. Raises BackupFailed where it is not the one that was written."""
    try:
        data = place.read(name)
    except FileNotFoundError as error:
        raise BackupFailed(f"{place.url}: {name} is missing") from error
    if hashlib.sha256(data).hexdigest() != backup.files[name]:
        raise BackupFailed(f"{place.url}: {name} is not the file that {MANIFEST} names (SHA-256)")
    return data


def packed(table: Table, rows: Rows) -> bytes:
    """Rows as lines of JSON, compressed."""

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.isoformat()
        return base64.b64encode(value).decode() if isinstance(value, bytes) else value

    names = [column.name for column in table.columns]
    lines = (json.dumps({name: plain(row[name]) for name in names}, ensure_ascii=False) for row in rows)
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def unpacked(table: Table, data: bytes) -> Iterator[dict[str, Any]]:
    """What `packed` wrote."""
    times = {column.name for column in table.columns if isinstance(column.type, UtcDateTime)}
    binary = {column.name for column in table.columns if isinstance(column.type, LargeBinary)}
    for line in gzip.decompress(data).decode().rstrip("\n").split("\n"):  # other line ends may stand in words
        row: dict[str, Any] = json.loads(line)
        for name in times & row.keys():
            row[name] = row[name] and datetime.fromisoformat(row[name])
        for name in binary & row.keys():
            row[name] = base64.b64decode(row[name])
        yield row
