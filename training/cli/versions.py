"""Verbs for versions: models list, show, activate and so on."""

import argparse
from pathlib import Path

from contract.cli.verbs import Verb
from training.cli import version_results as told
from training.cli.arguments import add_version, share

_VERSION = "20260401T120000Z-0123456789ab"
_OTHER = "20260402T120000Z-0123456789ab"


def _trial(command: argparse.ArgumentParser) -> None:
    add_version(command, nargs="?")
    command.add_argument(
        "--share",
        type=share,
        metavar="SHARE",
        help="of the users, 0 to 1; 0: it serves nobody, and is only measured (needed with VERSION)",
    )


def _compare(command: argparse.ArgumentParser) -> None:
    add_version(command)
    add_version(command, "other")


def _report(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, metavar="FOLDER", help="folder to write into (default: VAR_DIR/models)")


VERBS = (
    Verb(
        name="models list",
        help="list all versions, the one activated last first",
        run="training.commands.versions:list_all",
        examples=("models list", "models list --json"),
        result=told.Listed,
    ),
    Verb(
        name="models show",
        help="print a version's manifest and what is known of it, as JSON",
        run="training.commands.versions:show",
        examples=(f"models show {_VERSION}",),
        options=add_version,
        result=told.Shown,
    ),
    Verb(
        name="models verify",
        help="check a version's files and its golden outputs",
        run="training.commands.versions:verify",
        examples=(f"models verify {_VERSION}",),
        options=add_version,
        result=told.Verified,
    ),
    Verb(
        name="models compare",
        help="compare two versions on the newest retweets of the database",
        run="training.commands.versions:compare",
        examples=(f"models compare {_OTHER} {_VERSION}",),
        options=_compare,
        result=told.Compared,
    ),
    Verb(
        name="models activate",
        help="let a version serve whose vectors are kept",
        run="training.commands.versions:activate",
        examples=(f"models activate {_VERSION}",),
        options=add_version,
        result=told.Serves,
    ),
    Verb(
        name="models rollback",
        help="let the version before the active one serve",
        run="training.commands.versions:roll_back",
        examples=("models rollback",),
        result=told.Serves,
    ),
    Verb(
        name="models trial",
        help="let a kept version serve a share of the users, or say how it does",
        run="training.commands.versions:trial",
        examples=(f"models trial {_VERSION} --share .1", "models trial"),
        options=_trial,
        result=told.OnTrial,
    ),
    Verb(
        name="models end-trial",
        help="let the active version serve everybody",
        run="training.commands.versions:end_trial",
        examples=("models end-trial",),
        result=told.TrialEnded,
    ),
    Verb(
        name="models report",
        help="write all versions and how they were trained as a page and as JSON lines",
        run="training.commands.versions:report",
        examples=("models report", "models report --out var/report"),
        options=_report,
        result=told.Reported,
    ),
    Verb(
        name="models delete",
        help="remove a version that does not serve, its folder too",
        run="training.commands.versions:delete",
        examples=(f"models delete {_VERSION}",),
        options=add_version,
        result=told.Deleted,
    ),
    Verb(
        name="models redact",
        help="take deleted users out of the exported models",
        run="training.commands.versions:redact",
        examples=("models redact",),
        result=told.Redacted,
    ),
    Verb(
        name="models rebuild-redis",
        help="write all of Redis anew from SQL and the exported models",
        run="training.commands.versions:rebuild",
        examples=("models rebuild-redis",),
        result=told.Rebuilt,
    ),
)
