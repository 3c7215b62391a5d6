"""The trainer's command line: python -m training COMMAND --help."""

import argparse
import asyncio
import os
import signal
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from contract.environment import StoreSettings
from contract.errors import ContractError
from contract.release import NAME, release
from training import demo, progress
from training.backup_commands import add_backup
from training.dataset.writing import FORMATS
from training.dump import export_dataset
from training.errors import GateClosed, TrainingError
from training.importer import import_dataset
from training.model_commands import add_models, share, version_name
from training.settings import Gate, TrainingSettings
from training.stores import with_stores
from training.synthesize import DatasetExists, SynthesisSettings, synthesize

INTERRUPTED = 130
GATE_CLOSED = 3
PICTURES = ("backbone", "weights")
"""Settings of a comparison that are not tuned by system."""
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
    except GateClosed as error:
        print(f"error: {error}", file=sys.stderr)
        return GATE_CLOSED
    except (
        TrainingError,
        ContractError,
        DatasetExists,
        SQLAlchemyError,
        RedisError,
        OSError,
        BrokenProcessPool,
    ) as error:
        print(f"error: {(str(error) or repr(error)).splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    root = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    root.add_argument("--version", action="version", version=f"{NAME} {release()}")
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
    bad_rows.add_argument(
        "--strict", action="store_true", help="stop at the first bad row; nothing is stored if the check finds it"
    )
    bad_rows.add_argument(
        "--rejects",
        type=Path,
        metavar="FILE",
        help="list bad rows here (default: VAR_DIR/rejects/FOLDER-TIME.jsonl)",
    )
    command.set_defaults(run=run_import)

    command = commands.add_parser("export", help="the whole network as a dataset folder, while the service may run")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder to write, or an empty one")
    command.add_argument("--format", choices=FORMATS, default="jsonl", help="of the tables (default: jsonl)")
    command.set_defaults(run=run_export)

    add_backup(commands)

    command = commands.add_parser("retrain", help="train on the database and put the new version into service")
    add_settings(command, TrainingSettings)
    add_settings(command, Gate, ("worse_by",))
    command.add_argument("--force", action="store_true", help=Gate.model_fields["force"].description)
    command.add_argument("--dry-run", action="store_true", help="stop before anything is published")
    command.add_argument("--trial", type=share, metavar="SHARE", help="whom it is to serve: of all users, 0 to 1")
    command.set_defaults(run=run_retrain)

    command = commands.add_parser("publish", help="put an exported version into service; rebuilds Redis from SQL")
    command.add_argument("version", type=version_name)
    command.add_argument("--trial", type=share, metavar="SHARE", help="whom it is to serve: of all users, 0 to 1")
    command.set_defaults(run=run_publish)

    command = commands.add_parser("models", help="which versions there are, and what is done with them")
    add_models(command)

    command = commands.add_parser("evaluate", help="systems on a network's held-out retweets, without a database")
    add_network(command)
    command.add_argument(
        "--protocol",
        choices=["primary", "secondary"],
        default="primary",
        help="primary: one cut in time, followees' tweets after it; secondary: as in the paper, as far as one can tell "
        "(made only)",
    )
    command.add_argument(
        "--systems",
        default="",
        metavar="NAMES",
        help="trained ones, split by commas",
    )
    command.add_argument("--seeds", type=at_least_one, default=1, help="training seeds (default: 1)")
    command.set_defaults(run=run_evaluate)

    command = commands.add_parser("tune", help="pick systems' settings on validation lists, equal trials for all")
    add_network(command)
    command.add_argument("--systems", required=True, metavar="NAMES", help="split by commas")
    command.add_argument("--out", type=Path, required=True, help="JSON file to keep the best settings in")
    command.set_defaults(run=run_tune)

    command = commands.add_parser("reproduce", help="tables and figures of the paper, as one page")
    command.add_argument("--data", type=Path, required=True, help="made network: synthesize --size paper --out FOLDER")
    command.add_argument("--lastfm", type=Path, help="folder of HetRec 2011's lastfm-2k")
    command.add_argument("--flickr", type=Path, help="folder of the Flickr likes of DiffNet")
    command.add_argument("--out", type=Path, default=Path("var/reproduction"), help="runs, page and results.json")
    command.add_argument("--seeds", type=at_least_one, default=3)
    add_settings(command, TrainingSettings, PICTURES)
    command.add_argument("--quick", action="store_true", help="one split, one seed, two epochs, in OUT/quick")
    command.set_defaults(run=run_reproduce)

    command = commands.add_parser("demo", help="print curl lines that show a made dataset at work")
    command.add_argument("folder", type=Path)
    command.add_argument("--url", default="http://127.0.0.1:8000")
    command.set_defaults(run=lambda options: print(demo.curl_lines(options.folder, options.url)))
    return root


def add_settings(
    command: argparse.ArgumentParser, settings: type[BaseModel], names: tuple[str, ...] | None = None
) -> None:
    """An option for every field of a settings model, or for some; pydantic reads and checks the values."""
    for name, field in settings.model_fields.items():
        if names is not None and name not in names:
            continue
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
    if report.hides or report.deleted_tweets:
        print(f"imported {report.hides:,} hides and {report.deleted_tweets:,} ids of deleted tweets")
    if report.exposures is not None:
        print(f"checked {report.exposures:,} exposures; they stay in the folder, the database has no place for them")
    if report.rejected:
        tables = ", ".join(f"{count:,} of {table}" for table, count in report.rejected.items())
        print(f"REJECTED {sum(report.rejected.values()):,} rows ({tables}): see {rejects_file}")


def run_export(options: argparse.Namespace) -> None:
    """Export a dataset folder."""
    report = asyncio.run(export_dataset(options.folder, options.format, StoreSettings(), progress.terminal))
    rows = report.rows
    print(
        f"exported {rows['users']:,} users, {rows['follows']:,} follows, {rows['tweets']:,} image tweets with "
        f"{report.pictures:,} pictures ({report.picture_bytes:,} bytes), {rows['retweets']:,} retweets, "
        f"{rows['hides']:,} hides and {rows['deleted_tweets']:,} ids of deleted tweets to {options.folder}"
    )
    if report.deleted_meanwhile:
        print(f"LEFT OUT {len(report.deleted_meanwhile):,} tweets that were deleted while the export ran")


def default_rejects_file(folder: Path, settings: StoreSettings) -> Path:
    """A place under VAR_DIR that no other import has."""
    return settings.var_dir / "rejects" / f"{folder.resolve().name}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.jsonl"


def add_network(command: argparse.ArgumentParser) -> None:
    """Where a network is and which part of it is held out."""
    command.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    command.add_argument(
        "--kind", choices=["made", "lastfm", "flickr"], default="made", help="made: this project's format"
    )
    command.add_argument(
        "--split",
        type=percentage,
        default=80,
        metavar="PERCENT",
        help="retweets before the test period (made only; default: 80)",
    )
    add_settings(command, TrainingSettings, PICTURES)


def at_least_one(text: str) -> int:
    """A number of an option; argparse says which."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def percentage(text: str) -> int:
    """From 1 to 99."""
    if not 1 <= int(text) <= 99:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 99")
    return int(text)


def run_evaluate(options: argparse.Namespace) -> None:
    """Print a line a system."""
    from training.compare import compare
    from training.systems import known_systems

    names = known_systems(options.systems)
    lines = compare(
        options.kind,
        options.data,
        options.protocol,
        options.split,
        names,
        options.seeds,
        TrainingSettings(**given(options, TrainingSettings)),
        StoreSettings().var_dir / "features",
        progress.terminal,
    )
    metrics = ("p@1", "p@3", "auc", "ndcg@10", "mrr")
    for number, (name, means) in enumerate(lines):
        if number == 0:
            print(f"{'held-out retweets':<30} {' '.join(f'{metric:>7}' for metric in metrics)}")
        said = means if isinstance(means, str) else " ".join(f"{means[metric]:7.3f}" for metric in metrics)
        print(f"  {name:<28} {said}", flush=True)


def run_tune(options: argparse.Namespace) -> None:
    """Print every trial and keep the best."""
    from training.compare import network_problem
    from training.systems import known_systems
    from training.tune import tune

    names = known_systems(options.systems)
    pictures = TrainingSettings(**given(options, TrainingSettings))
    cache = StoreSettings().var_dir / "features"
    problem = network_problem(options.kind, options.data, options.split, pictures, cache, progress.terminal)
    for trial in tune(problem, options.kind, options.split, names, options.out, progress.terminal):
        gave = trial.failed if trial.auc is None else f"validation AUC {trial.auc:.4f}"
        print(f"{trial.system}: {gave} with {trial.settings}", flush=True)
    print(f"the best of each is in {options.out}, all trials are in {options.out.with_suffix('.trials.jsonl')}")


def run_reproduce(options: argparse.Namespace) -> None:
    """Make the runs that are missing and the page."""
    from training.reproduce import Sources, reproduce

    pictures = TrainingSettings(**given(options, TrainingSettings))
    cache = StoreSettings().var_dir / "features"
    sources = Sources(options.data, cache, options.lastfm, options.flickr, pictures)
    page = reproduce(sources, options.out, options.seeds, options.quick, progress.terminal)
    print(f"page {page}, figures {page.with_name('results.json')}, runs {page.with_name('runs')}")


def run_retrain(options: argparse.Namespace) -> None:
    """Retrain and activate."""
    from training.retrain import retrain  # imports torch, which the other commands do without

    started = time.monotonic()
    settings = TrainingSettings(**given(options, TrainingSettings))
    gate = Gate(**given(options, Gate))
    report = retrain(settings, StoreSettings(), progress.terminal, gate, options.dry_run, options.trial)
    print(f"held-out retweets   {'p@1':>6} {'p@3':>6} {'auc':>6}")
    for name, metrics in report.metrics.items():
        print(f"  {name:<17} {metrics['p@1']:6.3f} {metrics['p@3']:6.3f} {metrics['auc']:6.3f}")
    if report.verdict is not None:
        print(report.verdict)
    if report.new_vectors is None:
        print(
            f"version {report.version} is in {report.folder}, to publish: python -m training publish {report.version}"
        )
        return
    print(
        f"version {report.version} {whom(options.trial)} now, after {time.monotonic() - started:.0f} s: "
        f"{report.folder}, {report.new_vectors:,} tweets' vectors stored"
    )


def whom(trial: float | None) -> str:
    """Whom a version serves."""
    return "serves" if trial is None else f"serves {100 * trial:g} % of the users, on trial,"


def run_publish(options: argparse.Namespace) -> None:
    """Put an exported version into service."""
    from training.retrain import one_at_a_time, publish_folder

    stores = StoreSettings()
    with one_at_a_time(stores.var_dir / "runs"):
        published = publish_folder(stores.models_dir / options.version, stores, progress.terminal, share=options.trial)
    print(f"version {options.version} {whom(options.trial)} now, {published.new_vectors:,} tweets' vectors stored")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # drafts are removed on the way out
    sys.exit(main())
