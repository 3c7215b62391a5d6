"""All that cannot be made anew (SQL, pictures, the models that serve) to a folder or an fsspec URL, and back.

    tables/NAME-00000-RANDOM.jsonl.gz   rows of a table, some thousand a file; times as ISO 8601, bytes as base64
    images/                             a store of pictures like the service's own
    models/VERSION/                     exported models
    backup.json                         what there is, with its SHA-256; written last

SQL is read in one snapshot, while the service may run; pictures and models are copied after it. Redis is not in it: it
is written anew from the rest. Files of rows that `backup.json` does not name are left by a run that was interrupted.
"""

import asyncio
import hashlib
import shutil
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from sqlalchemy import Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract import artifact
from contract.blobs import BlobStore, blob_key
from contract.errors import ArtifactInvalid
from contract.ids import Id
from contract.parts import in_parts
from contract.progress import Progress
from contract.tables import SCHEMA_REVISION, Base, DeletedTweet, Tweet
from contract.versions import activated_last, kept_versions, latest_first
from training.backup_files import Place, Rows, packed, unpacked
from training.dump import snapshot
from training.errors import BackupFailed

MANIFEST = "backup.json"
_ROWS_AT_A_TIME = 5_000
_IDS_AT_A_TIME = 500
_PICTURES_AT_A_TIME = 16
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
        parts = -(-count // _ROWS_AT_A_TIME)
        shown = iter(progress(range(parts), parts, f"back up {table.name} (parts of {_ROWS_AT_A_TIME:,})"))
        rows = select(table).execution_options(yield_per=_ROWS_AT_A_TIME)
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


async def copy_or_miss(
    keys: Collection[str], source: BlobStore, target: BlobStore, progress: Progress, what: str
) -> AsyncIterator[str]:
    """Copy the pictures that are not there yet; yields the keys of those that are missing or damaged."""
    parts = in_parts(sorted(keys), _PICTURES_AT_A_TIME)
    for part in progress(parts, len(parts), f"{what} pictures ({_PICTURES_AT_A_TIME} at a time)"):
        copied = await asyncio.gather(*(asyncio.to_thread(copy_picture, key, source, target) for key in part))
        for key, there in zip(part, copied, strict=True):
            if not there:
                yield key


def copy_picture(key: str, source: BlobStore, target: BlobStore) -> bool:
    """Whether it is there, as its key says; a damaged one in the target is replaced."""
    if whole(key, target) is not None:
        return True
    data = whole(key, source)
    if data is None:
        return False
    target.delete(key)
    return target.put(data) == key


def whole(key: str, blobs: BlobStore) -> bytes | None:
    """The bytes of a picture; None where it is missing or damaged."""
    try:
        data = blobs.get(key)
    except FileNotFoundError:
        return None
    return data if blob_key(data) == key else None


async def restore(
    place: Place, models_dir: Path, engine: AsyncEngine, blobs: BlobStore, progress: Progress
) -> tuple[Backup, bool]:
    """Write a backup into empty stores: models and pictures first, then SQL in one transaction.

    Returns it, and whether SQL was written: where there are as many rows already, it is left as it is. So it may be run
    again after an interruption. Redis is to be written afterwards (`training.publish.rebuild_redis`).
    Raises BackupFailed where there is no backup, it is of another schema or damaged, or the database has other rows,
    be it from a service that writes meanwhile.
    """
    backup = await asyncio.to_thread(read_backup, place)
    has_rows = await has_its_rows(backup, engine)
    await restore_models(place, backup, models_dir, progress)
    await restore_pictures(place, backup, blobs, progress)
    if not has_rows:
        await restore_tables(place, backup, engine, progress)
    return backup, not has_rows


def read_backup(place: Place) -> Backup:
    """Raises BackupFailed."""
    try:
        backup = Backup.model_validate_json(place.read(MANIFEST))
    except FileNotFoundError as error:
        raise BackupFailed(f"{place.shown} has no whole backup: {MANIFEST} is missing") from error
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*map(str, first["loc"]), first["msg"]])
        raise BackupFailed(f"{place.shown}: {MANIFEST} cannot be read ({reason}): use another backup") from error
    if backup.schema_revision != SCHEMA_REVISION:
        raise BackupFailed(
            f"the backup has schema {backup.schema_revision}, this code {SCHEMA_REVISION}: restore it with the release "
            "that made it, and run `alembic upgrade head` then"
        )
    return backup


async def has_its_rows(backup: Backup, engine: AsyncEngine) -> bool:
    """Whether the database has as many as the backup, and not none. Raises BackupFailed where it has others."""
    async with engine.connect() as connection:
        counts = await count_rows(connection)
    if not any(counts.values()):
        return False
    if counts != backup.rows:
        name, count = next((name, count) for name, count in counts.items() if count != backup.rows.get(name))
        raise BackupFailed(
            f"the database has rows already, and not the backup's ({count:,} {name}): restore into an empty one; where "
            "Redis alone is missing, run `python -m training models rebuild-redis`"
        )
    return True


async def count_rows(connection: AsyncConnection) -> dict[str, int]:
    """By table."""
    return {
        table.name: await connection.scalar(select(func.count()).select_from(table)) or 0
        for table in Base.metadata.sorted_tables
    }


async def restore_models(place: Place, backup: Backup, models_dir: Path, progress: Progress) -> None:
    """Raises BackupFailed where one is missing or damaged."""
    for version in progress(backup.models, len(backup.models), "restore models"):
        await asyncio.to_thread(restore_model, place, version, models_dir)


def restore_model(place: Place, version: str, models_dir: Path) -> None:
    """A folder, whole or not at all; one that is there stays. Raises BackupFailed where it is missing or damaged."""
    folder = models_dir / version
    if folder.exists():
        load_model(folder, str(folder), "remove it, and restore again")
        return
    draft = models_dir / f".{version}.restore"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    name = f"models/{version}"
    for path in place.fs.ls(place.path(name), detail=False) if place.has(name) else []:
        place.fs.get_file(path, str(draft / Path(path).name))
    load_model(draft, f"{place.shown}: {name}", "use another backup")
    draft.rename(folder)


def load_model(folder: Path, shown: str, advice: str) -> None:
    """Raises BackupFailed where it is damaged."""
    try:
        artifact.load(folder)
    except ArtifactInvalid as error:
        reason = str(error).partition(": ")[0].replace(str(folder), shown)
        raise BackupFailed(f"{reason}, so that the model is damaged: {advice}") from error


async def restore_pictures(place: Place, backup: Backup, blobs: BlobStore, progress: Progress) -> None:
    """Those that are not there yet. Raises BackupFailed where one is missing or damaged."""
    tweets = Base.metadata.tables[Tweet.__tablename__]
    keys: set[str] = set()
    for name in files_of(tweets, backup.files):
        data = await asyncio.to_thread(checked, place, name, backup)
        keys.update(row["image_key"] for row in unpacked(tweets, data))
    async for key in copy_or_miss(keys, place.pictures(), blobs, progress, "restore"):
        raise BackupFailed(f"{place.shown}: picture {key} is missing or damaged: use another backup")


async def restore_tables(place: Place, backup: Backup, engine: AsyncEngine, progress: Progress) -> None:
    """All rows or none. Raises BackupFailed where a file is missing or damaged, or the database has rows."""
    async with engine.begin() as connection:
        if any((await count_rows(connection)).values()):
            raise BackupFailed("the database got rows meanwhile: end the service, and restore into an empty one")
        for table in Base.metadata.sorted_tables:
            names = files_of(table, backup.files)
            for name in progress(names, len(names), f"restore {table.name} (parts of {_ROWS_AT_A_TIME:,})"):
                data = await asyncio.to_thread(checked, place, name, backup)
                if rows := list(unpacked(table, data)):
                    await connection.execute(insert(table), rows)


def checked(place: Place, name: str, backup: Backup) -> bytes:
    """A file of rows. Raises BackupFailed where it is not the one that was written."""
    try:
        data = place.read(name)
    except FileNotFoundError as error:
        raise BackupFailed(f"{place.shown}: {name} is missing: use another backup") from error
    if hashlib.sha256(data).hexdigest() != backup.files[name]:
        raise BackupFailed(f"{place.shown}: {name} is not the file that {MANIFEST} names (SHA-256): use another backup")
    return data
