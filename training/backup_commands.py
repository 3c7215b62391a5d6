"""python -m training backup, python -m training restore: the command line of training/backup.py and restore.py."""

import argparse
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.environment import StoreSettings
from contract.graph import OnlineGraph
from contract.rebuild import rebuild_graph
from contract.tables import ApiKey
from training import progress
from training.backup import Backup, back_up
from training.backup_files import Place
from training.publish import rebuild_redis
from training.redaction import redact
from training.restore import restore
from training.stores import Stores, with_sql_and_pictures, with_stores


def add_backup(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Both commands."""
    command = commands.add_parser("backup", help="SQL, pictures and models to a folder or URL")
    command.add_argument("place", metavar="PLACE", help="a new folder, or an fsspec URL such as s3://bucket/name")
    command.set_defaults(run=run_backup)
    command = commands.add_parser("restore", help="a backup into empty stores, and Redis from it")
    command.add_argument("place", metavar="PLACE", help="where `backup` wrote it")
    command.set_defaults(run=run_restore)


def run_backup(options: argparse.Namespace) -> None:
    """Say what was backed up; deleted users are taken out of the models first."""
    place, settings = Place(options.place), StoreSettings()
    models_dir = settings.models_dir
    with_sql_and_pictures(settings, lambda engine, _: redact(models_dir, engine))
    backup = with_sql_and_pictures(
        settings, lambda engine, blobs: back_up(place, models_dir, engine, blobs, progress.terminal)
    )
    print(f"backed up {told(backup)} to {place.shown}")
    if backup.left_out:
        print(f"LEFT OUT {backup.left_out:,} tweets that were deleted meanwhile")


def run_restore(options: argparse.Namespace) -> None:
    """Say what was restored, and what is undone by that, or that SQL was left as it is."""
    place, settings = Place(options.place), StoreSettings()

    async def work(stores: Stores) -> tuple[Backup, bool, dict[str, str | None], int]:
        backup, wrote_sql = await restore(place, settings.models_dir, stores.engine, stores.blobs, progress.terminal)
        written = await write_redis(backup, settings.models_dir, stores)
        return backup, wrote_sql, written, await valid_keys(stores.engine)

    backup, wrote_sql, written, keys = with_stores(settings, work)
    print(f"restored {told(backup)} from {place.shown}" if wrote_sql else left_as_it_is(place))
    for version, fault in written.items():
        if fault is not None:
            print(f"NOT WRITTEN to Redis: {version} ({fault}); where it was on trial, that is ended")
    if wrote_sql:
        print(undone(backup, keys))


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


def undone(backup: Backup, keys: int) -> str:
    """What a restore brings back, and what is to be done about it."""
    return (
        f"All is as of {backup.created_at:%Y-%m-%d %H:%M} UTC. Users and tweets that were deleted since are back: "
        f"delete them again. {keys:,} keys are valid: revoke again those that were revoked since "
        "(`python -m service keys list`)"
    )


def left_as_it_is(place: Place) -> str:
    """What was restored where SQL was not."""
    return (
        f"SQL has as many rows already and was left as it is; models and pictures that were missing are restored from "
        f"{place.shown}, and Redis is written anew. Where SQL is to be as it was then: restore into an empty one"
    )


def told(backup: Backup) -> str:
    """In words."""
    rows = backup.rows
    network = f"{rows['users']:,} users, {rows['follows']:,} follows, {rows['tweets']:,} image tweets"
    more = f"{backup.pictures:,} pictures, {rows['retweets']:,} retweets and {rows['api_keys']:,} keys"
    return f"{network}, {more}; models: {', '.join(backup.models) or 'none'}"
