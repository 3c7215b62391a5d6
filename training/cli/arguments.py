"""Arguments that several verbs take; argparse says which cannot be."""

import argparse
import re
from pathlib import Path

from contract.cli.options import add_settings, whole_number
from contract.ids import ID_PATTERN
from training.settings import TrainingSettings

PICTURES = ("backbone", "weights")
"""Settings of a comparison that are not tuned by system."""


def add_version(command: argparse.ArgumentParser, name: str = "version", nargs: str | None = None) -> None:
    """A version's name."""
    about = "as `models list` shows it" if nargs is None else "left out: how the trial that runs does"
    command.add_argument(name, type=version_name, metavar="VERSION", nargs=nargs, help=about)


def add_trial(command: argparse.ArgumentParser) -> None:
    """Whom a new version is to serve."""
    command.add_argument(
        "--trial", type=share, metavar="SHARE", help="of the users whom it is to serve, 0 to 1 (default: all)"
    )


def add_cluster(command: argparse.ArgumentParser) -> None:
    """Who encodes."""
    command.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="Ray cluster that encodes: HOST:PORT, auto for this machine's, local for one of its own (default: none)",
    )
    command.add_argument(
        "--workers", type=at_least_one, metavar="N", help="of the cluster (default: its GPUs or, without, its cores)"
    )


def add_network(command: argparse.ArgumentParser) -> None:
    """Where a network is and which part of it is held out."""
    command.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the network")
    command.add_argument(
        "--kind",
        choices=["made", "lastfm", "flickr"],
        default="made",
        help="of network; made: this project's format (default: made)",
    )
    command.add_argument(
        "--split",
        type=percentage,
        default=80,
        metavar="PERCENT",
        help="retweets before the test period (made only; default: 80)",
    )
    add_settings(command, TrainingSettings, *PICTURES)


def version_name(text: str) -> str:
    """A name that can be a version's."""
    if not re.fullmatch(ID_PATTERN, text):
        raise argparse.ArgumentTypeError(f"{text} is no version: `python -m training models list` shows all")
    return text


def share(text: str) -> float:
    """A share of all users."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: use a number from 0 to 1, as .1 for a tenth")
    return value


def at_least_one(text: str) -> int:
    """A number of something."""
    return whole_number(text, 1)


def not_negative(text: str) -> int:
    """A number that may be 0."""
    return whole_number(text, 0)


def percentage(text: str) -> int:
    """From 1 to 99."""
    return whole_number(text, 1, 99)
