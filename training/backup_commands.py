"""python -m training backup, python -m training restore: the command line of training/backup.py."""

import argparse

from contract.environment import StoreSettings
from contract.graph import OnlineGraph
from contract.rebuild import rebuild_graph
from training import progress
from training.backup import Backup, Place, back_up, restore
from training.publish import rebuild_redis
from training.redaction import any_to_redact, redact
from training.stores import Stores, with_stores


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
    if with_stores(settings, lambda stores: any_to_redact(settings.models_dir, stores.engine)):
        from training.retrain import one_at_a_time

        with one_at_a_time(settings.var_dir / "runs"):
            with_stores(settings, lambda stores: redact(settings.models_dir, stores.engine))
    backup = with_stores(settings, lambda stores: back_up(place, settings.models_dir, stores, progress.terminal))
    print(f"backed up {told(backup)} to {options.place}")
    if backup.deleted_meanwhile:
        print(f"LEFT OUT {len(backup.deleted_meanwhile):,} tweets that were deleted meanwhile")


def run_restore(options: argparse.Namespace) -> None:
    """Say what was restored."""
    place, settings = Place(options.place), StoreSettings()

    async def work(stores: Stores) -> Backup:
        backup = await restore(place, settings.models_dir, stores, progress.terminal)
        if backup.models:
            await rebuild_redis(settings.models_dir, stores, progress.terminal)
        else:
            await rebuild_graph(stores.engine, OnlineGraph(stores.redis, stores.namespace), progress.terminal)
        return backup

    print(f"restored {told(with_stores(settings, work))} from {options.place}")


def told(backup: Backup) -> str:
    """In words."""
    rows = backup.rows
    network = f"{rows['users']:,} users, {rows['follows']:,} follows, {rows['tweets']:,} image tweets"
    more = f"{backup.pictures:,} pictures, {rows['retweets']:,} retweets and {rows['api_keys']:,} keys"
    return f"{network}, {more}; models: {', '.join(backup.models) or 'none'}"
