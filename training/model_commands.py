"""python -m training models ACTION: the command line of training/models.py."""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

from contract.artifact import read_manifest
from contract.environment import StoreSettings
from contract.errors import ArtifactInvalid
from contract.ids import ID_PATTERN
from training import models, progress
from training.errors import InputRejected
from training.stores import with_stores

Run = Callable[[argparse.Namespace], None]


def add_models(command: argparse.ArgumentParser) -> None:
    """What can be done with versions."""
    actions = command.add_subparsers(required=True, metavar="ACTION")
    of_all: list[tuple[str, Run, str]] = [
        ("list", run_list, "all versions, the one activated last first"),
        ("rollback", run_rollback, "let the version before the active one serve"),
        ("rebuild-redis", run_rebuild, "write all of Redis anew from SQL and the exported models"),
        ("redact", run_redact, "take deleted users out of the exported models"),
    ]
    of_one: list[tuple[str, Run, str]] = [
        ("show", run_show, "a version's manifest and what is known of it, as JSON"),
        ("activate", run_activate, "let a version serve whose vectors are kept"),
        ("verify", run_verify, "check a version's files and its golden outputs"),
        ("delete", run_delete, "remove a version that does not serve, its folder too"),
    ]
    for name, run, described in of_all:
        actions.add_parser(name, help=described).set_defaults(run=run)
    for name, run, described in of_one:
        action = actions.add_parser(name, help=described)
        action.add_argument("version", type=version_name)
        action.set_defaults(run=run)
    action = actions.add_parser("trial", help="let a kept version serve a share of the users, or say how it does")
    action.add_argument("version", type=version_name, nargs="?", help="left out: how the trial that runs does")
    action.add_argument("--share", type=share, help="of the users, 0 to 1; 0: it serves nobody, and is only measured")
    action.set_defaults(run=run_trial)
    actions.add_parser("end-trial", help="let the active version serve everybody").set_defaults(run=run_end_trial)
    action = actions.add_parser("report", help="all versions and how they were trained, as a page and as JSON lines")
    action.add_argument("--out", type=Path, help="folder to write into (default: VAR_DIR/models)")
    action.set_defaults(run=run_report)
    action = actions.add_parser("compare", help="two versions on the newest retweets of the database")
    action.add_argument("version", type=version_name)
    action.add_argument("other", type=version_name)
    action.set_defaults(run=run_compare)


def version_name(text: str) -> str:
    """A name that can be a version's; argparse says which is none."""
    if not re.fullmatch(ID_PATTERN, text):
        raise argparse.ArgumentTypeError(f"{text} is no version: `python -m training models list` shows all")
    return text


def share(text: str) -> float:
    """A share of all users; argparse says what is none."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: use a number from 0 to 1, as .1 for a tenth")
    return value


def run_list(_: argparse.Namespace) -> None:
    """Print a line a version."""
    stores = StoreSettings()
    print(f"{'version':<32} {'status':<14} {'created':<20} {'activated':<20} {'auc':>6}  folder")
    for known in with_stores(stores, lambda opened: models.list_versions(opened, stores.models_dir)):
        created, activated = (f"{at:%Y-%m-%d %H:%M:%S}" if at else "-" for at in (known.created_at, known.activated_at))
        auc = f"{known.metrics['amnl']['auc']:6.3f}" if "amnl" in known.metrics else f"{'-':>6}"
        folder = stores.models_dir / known.version if known.on_disk else "gone"
        print(f"{known.version:<32} {known.status:<14} {created:<20} {activated:<20} {auc}  {folder}")


def run_show(options: argparse.Namespace) -> None:
    """Print JSON."""
    stores = StoreSettings()
    known = with_stores(stores, lambda opened: models.find_version(options.version, opened, stores.models_dir))
    manifest = read_manifest(stores.models_dir / options.version).model_dump(mode="json") if known.on_disk else None
    print(json.dumps({**vars(known), "status": known.status, "manifest": manifest}, indent=2, default=str))


def run_report(options: argparse.Namespace) -> None:
    """Write the page."""
    from training.history import report_versions

    stores = StoreSettings()
    out: Path = options.out or stores.var_dir / "models"
    known = with_stores(stores, lambda opened: models.list_versions(opened, stores.models_dir))
    report_versions(out, known, stores.models_dir)
    print(f"{len(known)} versions: {out / 'index.html'} and {out / 'versions.jsonl'}")


def run_verify(options: argparse.Namespace) -> None:
    """Say how near the golden outputs are."""
    worst = models.verify_version(StoreSettings().models_dir / options.version)
    print(f"version {options.version} verifies: golden outputs differ by at most {worst:.1e} of their largest values")


def run_compare(options: argparse.Namespace) -> None:
    """Print both AUCs, the difference and its interval."""
    from training.gate import compare_versions

    stores = StoreSettings()
    one, other = (stores.models_dir / version for version in (options.version, options.other))
    found = with_stores(stores, lambda opened: compare_versions(one, other, opened, progress.terminal))
    print(f"{options.version} beside {options.other}: {found}")


def run_activate(options: argparse.Namespace) -> None:
    """Move the pointer."""
    stores = StoreSettings()
    with_stores(stores, lambda opened: models.activate_version(options.version, opened, stores.models_dir))
    print(f"version {options.version} serves now")


def run_rollback(_: argparse.Namespace) -> None:
    """Move the pointer back."""
    stores = StoreSettings()
    version = with_stores(stores, lambda opened: models.roll_back(opened, stores.models_dir))
    print(f"version {version} serves now")


def run_trial(options: argparse.Namespace) -> None:
    """Begin a trial, or print both arms of the one that runs."""
    from training import trials

    stores = StoreSettings()
    if options.version is None and options.share is None:
        print("\n".join(with_stores(stores, trials.trial_so_far).lines()))
        return
    if options.version is None or options.share is None:
        raise InputRejected("to put a version on trial name both: `models trial VERSION --share .1`")
    version, whom = options.version, options.share
    with_stores(stores, lambda opened: trials.put_on_trial(version, whom, opened, stores.models_dir))
    print(f"version {version} serves {100 * whom:g} % of the users now")


def run_end_trial(_: argparse.Namespace) -> None:
    """End it."""
    from training import trials

    with_stores(StoreSettings(), trials.stop_trial)
    print("the active version serves everybody now")


def run_delete(options: argparse.Namespace) -> None:
    """Remove a version."""
    stores = StoreSettings()
    with_stores(stores, lambda opened: models.delete_version(options.version, opened, stores.models_dir))
    print(f"version {options.version} is deleted")


def run_redact(_: argparse.Namespace) -> None:
    """Say which had some. Raises ArtifactInvalid where they cannot be taken out of one."""
    from training.redaction import redact_all

    stores = StoreSettings()
    redacted = with_stores(stores, lambda opened: redact_all(stores.models_dir, opened.engine))
    if redacted.versions:
        print(f"deleted users were taken out of {', '.join(redacted.versions)} in {stores.models_dir}")
    if redacted.failed:
        named = ", ".join(redacted.failed)
        raise ArtifactInvalid(f"{named} may have deleted users still: see above what is wrong, and what to do")
    if not redacted.versions:
        print(f"no exported model in {stores.models_dir} has a deleted user")


def run_rebuild(_: argparse.Namespace) -> None:
    """Write Redis anew."""
    from training.publish import rebuild_redis

    stores = StoreSettings()
    written = with_stores(stores, lambda opened: rebuild_redis(stores.models_dir, opened, progress.terminal))
    whole = [version for version, fault in written.items() if fault is None]
    print(f"Redis has the online network and the vectors of {', '.join(whole)}; {whole[0]} serves")
    for version, fault in written.items():
        if fault is not None:
            print(f"NOT WRITTEN: {version} ({fault}); where it was on trial, that is ended")
