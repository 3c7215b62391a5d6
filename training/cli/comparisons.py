"""Verbs that compare systems: evaluate, tune, reproduce."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from contract.cli.options import add_settings
from contract.cli.result import Result
from contract.cli.verbs import Verb
from training.cli.arguments import PICTURES, add_network, at_least_one
from training.settings import TrainingSettings


class Row(BaseModel):
    """A system of a comparison."""

    system: str
    metrics: dict[str, float | None] | None
    why_not: str | None


class Evaluated(Result):
    """Systems on held-out retweets; for people they were printed one by one."""

    systems: list[Row] = Field(
        description="system, its metrics (null where they could not be had), and why_not (null where they could)"
    )


class Trial(BaseModel):
    """Settings that were tried."""

    system: str
    settings: dict[str, Any]
    auc: float | None
    failed: str | None


class Tuned(Result):
    """The best settings of each system; for people the trials were printed one by one."""

    trials: list[Trial] = Field(
        description="system, settings, validation auc (null: none), and failed, why (null: not)"
    )
    out: Path = Field(description="the best settings of each")
    log: Path = Field(description="all trials")

    def done(self) -> str:
        """A line."""
        return f"the best of each is in {self.out}, all trials are in {self.log}"


class Reproduced(Result):
    """The paper's tables."""

    page: Path = Field(description="tables and figures")
    figures: Path = Field(description="the same numbers as JSON")
    runs: Path = Field(description="a folder a run")

    def done(self) -> str:
        """A line."""
        return f"page {self.page}, figures {self.figures}, runs {self.runs}"


def _evaluate(command: argparse.ArgumentParser) -> None:
    add_network(command)
    command.add_argument(
        "--protocol",
        choices=["primary", "secondary"],
        default="primary",
        help="primary: one cut in time, followees' tweets after it; secondary: as in the paper, as far as one can tell "
        "(made only) (default: primary)",
    )
    command.add_argument("--systems", default="", metavar="NAMES", help="trained ones, split by commas (default: none)")
    command.add_argument("--seeds", type=at_least_one, default=1, metavar="N", help="training seeds (default: 1)")


def _tune(command: argparse.ArgumentParser) -> None:
    add_network(command)
    command.add_argument("--systems", required=True, metavar="NAMES", help="split by commas")
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="JSON file to keep the best settings in"
    )


def _reproduce(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="made network: synthesize --size paper --out FOLDER",
    )
    command.add_argument("--lastfm", type=Path, metavar="FOLDER", help="HetRec 2011's lastfm-2k (default: left out)")
    command.add_argument(
        "--flickr", type=Path, metavar="FOLDER", help="the Flickr likes of DiffNet (default: left out)"
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path("var/reproduction"),
        metavar="FOLDER",
        help="runs, page and results.json (default: var/reproduction)",
    )
    command.add_argument("--seeds", type=at_least_one, default=3, metavar="N", help="training seeds (default: 3)")
    add_settings(command, TrainingSettings, *PICTURES)
    command.add_argument("--quick", action="store_true", help="one split, one seed, two epochs, in OUT/quick")


VERBS = (
    Verb(
        name="evaluate",
        help="rank a network's held-out retweets by several systems, without a database",
        run="training.commands.comparisons:evaluate",
        examples=("evaluate --data var/paper", "evaluate --data var/paper --systems amnl,ease --seeds 3"),
        options=_evaluate,
        result=Evaluated,
    ),
    Verb(
        name="tune",
        help="pick systems' settings on validation lists, equal trials for all",
        run="training.commands.comparisons:tune",
        examples=("tune --data var/paper --systems amnl,ease --out var/tuned.json",),
        options=_tune,
        result=Tuned,
    ),
    Verb(
        name="reproduce",
        help="make the tables and figures of the paper, as one page",
        run="training.commands.comparisons:reproduce",
        examples=("reproduce --data var/paper --quick", "reproduce --data var/paper --lastfm var/lastfm"),
        options=_reproduce,
        result=Reproduced,
        more="Runs that are made already are not made again: one that was interrupted goes on.",
    ),
)
