"""All that cannot be made anew (SQL, pictures, the models that serve) to a folder or an fsspec URL.

    tables/NAME-00000-RANDOM.jsonl.gz   rows of a table, some thousand a file; times as ISO 8601, bytes as base64
    images/                             a store of pictures like the service's own
    models/VERSION/                     exported models
    backup.json                         what there is, with its SHA-256; written last

SQL is read in one snapshot, while the service may run; pictures and models are copied after it. Redis is not in it: it
is written anew from the rest. Files of rows that `backup.json` does not name are left by a run that was interrupted.
"""

import asyncio
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract import artifact
from contract.blobs import BlobStore
from contract.ids import Id
from contract.parts import in_parts
from contract.progress import Progress
from contract.tables import SCHEMA_REVISION, Base, DeletedTweet, Tweet
from contract.versions import activated_last, kept_versions, latest_first
from training.backup_files import Place, Rows, packed, unpacked
from training.backup_pictures import copy_or_miss
from training.dump import snapshot
from training.errors import BackupFailed

MANIFEST = "backup.json"
ROWS_AT_A_TIME = 5_000
_IDS_AT_A_TIME = 500
_TRIES = 2
_PICTURES = select(Tweet.tweet_id, Tweet.image_key)


class Backup(BaseModel):
    """`backup.json`."""

    form: Literal[1] = 1
    created_at: datetime
    """When its snapshot was taken."""
    schema_revision: str
    rows: dict[str, int]
    """By table."""
    files: dict[str, str]
    """SHA-256 of each file of rows."""
    pictures: int
    models: list[Id]
    left_out: int
    """Tweets that were deleted, with their pictures, while it was made."""


async def back_up(place: Place, models_dir: Path, engine: AsyncEngine, blobs: BlobStore, progress: Progress) -> Backup:
    """Write a backup; one that was interrupted goes on with the pictures that are missing.

    Raises BackupFailed where there is a backup already, a picture or the active model is missing, or a model changes
    all the while; ArtifactInvalid where one cannot be read.
    """
    place.make()
    refuse_another(place)
    begun = datetime.now(UTC)
    async with snapshot(engine) as connection:
        models = models_to_keep(await latest_first(connection), models_dir)
        rows, files = await copy_tables(place, connection, progress)
        pictures = {row.tweet_id: row.image_key for row in await connection.execute(_PICTURES)}
    gone = await copy_pictures(place, set(pictures.values()), blobs, progress)
    deleted = await deleted_meanwhile([tweet_id for tweet_id, key in pictures.items() if key in gone], engine)
    await leave_out(place, deleted, rows, files)
    refuse_another(place)
    await copy_models(place, models, models_dir, progress)
    backup = Backup(
        created_at=begun,
        schema_revision=SCHEMA_REVISION,
        rows=rows,
        files=files,
        pictures=len(set(pictures.values()) - gone),
        models=models,
        left_out=len(deleted),
    )
    refuse_another(place)
    place.write(MANIFEST, backup.model_dump_json(indent=1).encode())
    return backup


def refuse_another(place: Place) -> None:
    """Raises BackupFailed where there is a backup already."""
    if place.has(MANIFEST):
        raise BackupFailed(f"{place.shown} has a backup already: name a new place")


def models_to_keep(known: Sequence[Any], models_dir: Path) -> list[str]:
    """The versions whose vectors are kept, of all as `latest_first` has them, that have a folder.

    Raises BackupFailed where the active one has none.
    """
    versions = sorted(version for version in kept_versions(known) if (models_dir / version).is_dir())
    active = activated_last(known)
    if active is not None and active not in versions:
        raise BackupFailed(f"the active version {active} is not in {models_dir}: set MODELS_DIR")
    return versions


async def copy_tables(
    place: Place, connection: AsyncConnection, progress: Progress
) -> tuple[dict[str, int], dict[str, str]]:
    """How many rows of each table, and the files with their SHA-256."""
    counts: dict[str, int] = {}
    files: dict[str, str] = {}
    for table in Base.metadata.sorted_tables:
        count = counts[table.name] = await connection.scalar(select(func.count()).select_from(table)) or 0
        parts = -(-count // ROWS_AT_A_TIME)
        shown = iter(progress(range(parts), parts, f"back up {table.name} (parts of {ROWS_AT_A_TIME:,})"))
        rows = select(table).execution_options(yield_per=ROWS_AT_A_TIME)
        async with connection.stream(rows) as result:
            async for part in result.mappings().partitions():
                name = f"tables/{table.name}-{next(shown):05}-{uuid.uuid4().hex}.jsonl.gz"
                files[name] = await asyncio.to_thread(place.write, name, packed(table, part))
        next(shown, None)
    return counts, files


async def copy_pictures(place: Place, keys: Collection[str], blobs: BlobStore, progress: Progress) -> set[str]:
    """Those that are not there yet; returns the keys of those that are missing or damaged."""
    return {key async for key in copy_or_miss(keys, blobs, place.pictures(), progress, "back up")}


async def deleted_meanwhile(tweet_ids: Sequence[str], engine: AsyncEngine) -> Rows:
    """What is kept of tweets whose pictures are gone. Raises BackupFailed where one was not deleted."""
    rows: list[Mapping[Any, Any]] = []
    async with engine.connect() as now:
        for part in in_parts(tweet_ids, _IDS_AT_A_TIME):
            found = select(DeletedTweet.__table__).where(DeletedTweet.tweet_id.in_(part))
            rows += (await now.execute(found)).mappings()
    if lost := sorted(set(tweet_ids) - {row["tweet_id"] for row in rows}):
        raise BackupFailed(
            f"the pictures of {len(lost):,} tweets are missing or damaged where BLOB_URL says, as of {lost[0]}: set "
            "BLOB_URL (without it: VAR_DIR) to where they are, or delete these tweets"
        )
    return rows


async def leave_out(place: Place, deleted: Rows, rows: dict[str, int], files: dict[str, str]) -> None:
    """Write the files anew that have rows of deleted tweets, without these, and one with what is kept of them."""
    if not deleted:
        return
    gone = {row["tweet_id"] for row in deleted}
    for table in Base.metadata.sorted_tables:
        for name in files_of(table, files) if "tweet_id" in table.columns else []:
            before = list(unpacked(table, await asyncio.to_thread(place.read, name)))
            after = [row for row in before if row["tweet_id"] not in gone]
            if len(after) < len(before):
                files[name] = await asyncio.to_thread(place.write, name, packed(table, after))
                rows[table.name] -= len(before) - len(after)
    table = Base.metadata.tables[DeletedTweet.__tablename__]
    name = f"tables/{table.name}-meanwhile-{uuid.uuid4().hex}.jsonl.gz"
    files[name] = await asyncio.to_thread(place.write, name, packed(table, deleted))
    rows[table.name] += len(deleted)


def files_of(table: Table, files: Mapping[str, str]) -> list[str]:
    """A table's, in order."""
    return sorted(name for name in files if name.startswith(f"tables/{table.name}-"))


async def copy_models(place: Place, versions: Sequence[str], models_dir: Path, progress: Progress) -> None:
    """Raises ArtifactInvalid where one cannot be read, BackupFailed where one changes all the while."""
    for version in progress(versions, len(versions), "back up models"):
        for _ in range(_TRIES):
            if await asyncio.to_thread(copy_model, place, models_dir / version):
                break
        else:
            raise BackupFailed(f"model {version} changed meanwhile: run the same command again")


def copy_model(place: Place, folder: Path) -> bool:
    """Whether it was copied as its manifest says: another folder may be put in its place meanwhile.

    Raises ArtifactInvalid where it cannot be read.
    """
    manifest = artifact.load(folder).manifest
    try:
        wanted = {name: manifest.files[name] for name in artifact.FILES}
        wanted[artifact.MANIFEST] = artifact.sha256(folder / artifact.MANIFEST)
        files = sorted(path for path in folder.iterdir() if path.is_file())
        copied = {file.name: place.put(f"models/{folder.name}/{file.name}", file) for file in files}
    except FileNotFoundError:
        return False
    return wanted.items() <= copied.items()
