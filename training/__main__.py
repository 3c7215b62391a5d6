"""The trainer's command line: python -m training COMMAND --help."""

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from contract.environment import StoreSettings
from contract.errors import ContractError
from training import demo, progress
from training.errors import TrainingError
from training.importer import import_dataset
from training.settings import TrainingSettings
from training.stores import with_stores
from training.synthesize import DatasetExists, SynthesisSettings, synthesize

INTERRUPTED = 130
MOST_WORKERS = 8
"""Processes that make pictures; each takes some 100 MB."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; a caller's mistake is one line on standard error and exit status 1 (2: of the command line)."""
    # Before torch is imported: threads that spin while they wait take the cores from whatever else runs here.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except ValidationError as error:
        first = error.errors()[0]
        print(f"error: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}", file=sys.stderr)
        return 1
    except (TrainingError, ContractError, DatasetExists, SQLAlchemyError, RedisError, OSError) as error:
        print(f"error: {(str(error) or repr(error)).splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    root = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("synthesize", help="make a network with rendered pictures and written tweets")
    target = command.add_mutually_exclusive_group(required=True)
    target.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="the new folder to write")
    target.add_argument("--out", type=Path, metavar="FOLDER", help="the same, as an option")
    add_settings(command, SynthesisSettings)
    command.set_defaults(run=run_synthesize)

    command = commands.add_parser("import", help="a dataset folder into the database, the blob store and Redis")
    command.add_argument("folder", type=Path)
    bad_rows = command.add_mutually_exclusive_group()
    bad_rows.add_argument("--strict", action="store_true", help="stop at the first bad row and store nothing")
    bad_rows.add_argument(
        "--rejects",
        type=Path,
        metavar="FILE",
        help="list bad rows here (default: VAR_DIR/rejects/FOLDER-TIME.jsonl)",
    )
    command.set_defaults(run=run_import)

    command = commands.add_parser("retrain", help="train on the database and put the new version into service")
    add_settings(command, TrainingSettings)
    command.set_defaults(run=run_retrain)

    command = commands.add_parser("publish", help="put an exported version into service; rebuilds Redis from SQL")
    command.add_argument("version")
    command.set_defaults(run=run_publish)

    command = commands.add_parser("demo", help="print curl lines that show a made dataset at work")
    command.add_argument("folder", type=Path)
    command.add_argument("--url", default="http://127.0.0.1:8000")
    command.set_defaults(run=lambda options: print(demo.curl_lines(options.folder, options.url)))
    return root


def add_settings(command: argparse.ArgumentParser, settings: type[BaseModel]) -> None:
    """An option for every field of a settings model; pydantic reads and checks the values."""
    for name, field in settings.model_fields.items():
        choices = [str(value) for value in get_args(field.annotation)]
        literal = choices if choices and all(isinstance(value, str) for value in get_args(field.annotation)) else None
        command.add_argument(
            f"--{name.replace('_', '-')}",
            choices=literal,
            metavar=None if literal else "VALUE",
            default=argparse.SUPPRESS,
            help=f"{field.description or name} (default: {field.default})",
        )


def given(options: argparse.Namespace, settings: type[BaseModel]) -> dict[str, Any]:
    """The options of a settings model that stand on the command line."""
    return {name: getattr(options, name) for name in settings.model_fields if hasattr(options, name)}


def run_synthesize(options: argparse.Namespace) -> None:
    """Make a dataset folder."""
    folder: Path = options.folder or options.out
    settings = SynthesisSettings(**given(options, SynthesisSettings))
    report = synthesize(folder, settings, progress.terminal, min(os.cpu_count() or 1, MOST_WORKERS))
    print(
        f"made {report.users:,} users, {report.follows:,} follows, {report.tweets:,} image tweets and "
        f"{report.retweets:,} retweets in {folder}"
    )


def run_import(options: argparse.Namespace) -> None:
    """Import a dataset folder."""
    settings = StoreSettings()
    rejects_file = None if options.strict else options.rejects or default_rejects_file(options.folder, settings)
    report = with_stores(
        settings, lambda stores: import_dataset(options.folder, stores, progress.terminal, rejects_file)
    )
    print(
        f"imported {report.users:,} new users, {report.follows:,} follows, {report.tweets:,} image tweets and "
        f"{report.retweets:,} retweets; {report.known:,} rows were stored already"
    )
    if report.exposures is not None:
        print(f"checked {report.exposures:,} exposures; they stay in the folder, the database has no place for them")
    if report.rejected:
        tables = ", ".join(f"{count:,} of {table}" for table, count in report.rejected.items())
        print(f"REJECTED {sum(report.rejected.values()):,} rows ({tables}): see {rejects_file}")


def default_rejects_file(folder: Path, settings: StoreSettings) -> Path:
    """A place under VAR_DIR that no other import has."""
    return settings.var_dir / "rejects" / f"{folder.resolve().name}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.jsonl"


def run_retrain(options: argparse.Namespace) -> None:
    """Retrain and activate."""
    from training.retrain import retrain  # imports torch, which the other commands do without

    started = time.monotonic()
    report = retrain(TrainingSettings(**given(options, TrainingSettings)), StoreSettings(), progress.terminal)
    print(f"held-out retweets   {'p@1':>6} {'p@3':>6} {'auc':>6}")
    for name, metrics in report.metrics.items():
        print(f"  {name:<17} {metrics['p@1']:6.3f} {metrics['p@3']:6.3f} {metrics['auc']:6.3f}")
    print(
        f"version {report.version} serves now, after {time.monotonic() - started:.0f} s: "
        f"{report.folder}, {report.encoded_tweets:,} tweets encoded"
    )


def run_publish(options: argparse.Namespace) -> None:
    """Put an exported version into service."""
    from training.retrain import publish_folder

    stores = StoreSettings()
    published = publish_folder(stores.models_dir / options.version, stores, progress.terminal)
    print(f"version {options.version} serves now, {published.encoded_tweets:,} tweets encoded")


if __name__ == "__main__":
    sys.exit(main())
