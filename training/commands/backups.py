"""What the verbs for backups do."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.cli.options import environment
from contract.environment import StoreSettings
from contract.graph import OnlineGraph
from contract.rebuild import rebuild_graph
from contract.tables import ApiKey
from training import progress
from training.backup import Backup, back_up
from training.backup_files import Place
from training.cli.backups import BackedUp, Restored
from training.publish import rebuild_redis
from training.redaction import redact
from training.restore import restore
from training.stores import Stores, fetch_kept, with_models, with_sql_and_pictures, with_stores


def backup(options: argparse.Namespace) -> BackedUp:
    """Back up; deleted users are taken out of the models first."""
    place, settings = Place(options.place), environment(StoreSettings)
    models_dir = settings.models_dir
    with_models(settings, redact)
    with_models(settings, fetch_kept)
    made = with_sql_and_pictures(
        settings, lambda engine, blobs: back_up(place, models_dir, engine, blobs, progress.terminal)
    )
    return BackedUp(**kept(place, made), left_out=made.left_out)


def put_back(options: argparse.Namespace) -> Restored:
    """Restore SQL, pictures and models, then write Redis."""
    place, settings = Place(options.place), environment(StoreSettings)

    async def work(stores: Stores) -> Restored:
        backup, wrote_sql = await restore(place, settings.models_dir, stores.engine, stores.blobs, progress.terminal)
        for version in backup.models:
            await asyncio.to_thread(stores.models.share, version)
        written = await write_redis(backup, settings.models_dir, stores)
        return Restored(
            **kept(place, backup),
            wrote_sql=wrote_sql,
            not_written={version: fault for version, fault in written.items() if fault is not None},
            valid_keys=await valid_keys(stores.engine),
        )

    return with_stores(settings, work)


async def write_redis(backup: Backup, models_dir: Path, stores: Stores) -> dict[str, str | None]:
    """All of it; returns versions, and why one could not be written."""
    if backup.models:
        return await rebuild_redis(models_dir, stores, progress.terminal)
    await rebuild_graph(stores.engine, OnlineGraph(stores.redis, stores.namespace), progress.terminal)
    return {}


async def valid_keys(engine: AsyncEngine) -> int:
    """How many API keys are not revoked."""
    async with engine.connect() as connection:
        count = select(func.count()).select_from(ApiKey).where(ApiKey.revoked_at.is_(None))
        return await connection.scalar(count) or 0


def kept(place: Place, backup: Backup) -> dict[str, Any]:
    """Fields of a result."""
    return {"place": place.shown, **backup.model_dump(include={"created_at", "rows", "pictures", "models"})}
