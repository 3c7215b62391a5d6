"""A backup (training/backup.py) back into empty stores."""

import asyncio
import hashlib
import shutil
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract import artifact
from contract.blobs import BlobStore
from contract.errors import ArtifactInvalid
from contract.progress import Progress
from contract.tables import MIGRATE, SCHEMA_REVISION, Base, Tweet
from training.backup import MANIFEST, ROWS_AT_A_TIME, Backup, files_of
from training.backup_files import Place, unpacked
from training.backup_pictures import copy_or_miss
from training.errors import BackupFailed


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
            f"that made it, and {MIGRATE} then"
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
    place.download(name, draft)
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
            for name in progress(names, len(names), f"restore {table.name} (parts of {ROWS_AT_A_TIME:,})"):
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
