"""Verbs that put a version into service: retrain, publish."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import Field

from contract.cli.options import add_settings
from contract.cli.result import Result
from contract.cli.statuses import Status
from contract.cli.verbs import Verb
from training.cli.arguments import add_cluster, add_trial, add_version
from training.settings import BY_TORCHRUN, Gate, Placement, TrainingSettings


class Retrained(Result):
    """A new version."""

    version: str = Field(description="the new version")
    folder: Path = Field(description="its exported files")
    metrics: dict[str, dict[str, Any]] = Field(description="of the held-out retweets, by system")
    gate: dict[str, Any] | None = Field(description="how it did beside the active version; null: there was none")
    verdict: str | None = Field(description="the same, as a line")
    published: bool = Field(description="whether it serves now; false after --dry-run")
    trial: float | None = Field(description="share of the users whom it serves; null: all")
    new_vectors: int | None = Field(description="tweets that got a vector; null after --dry-run")
    seconds: float = Field(description="how long it took")

    def table(self) -> list[str]:
        """Metrics, a line a system, and the verdict."""
        lines = [f"held-out retweets   {'p@1':>6} {'p@3':>6} {'auc':>6}"]
        lines += [
            f"  {name:<17} {found['p@1']:6.3f} {found['p@3']:6.3f} {found['auc']:6.3f}"
            for name, found in self.metrics.items()
        ]
        return lines if self.verdict is None else [*lines, self.verdict]

    def done(self) -> str:
        """A line."""
        if not self.published:
            again = f"python -m training publish {self.version}"
            return f"version {self.version} is in {self.folder}, to publish: {again}"
        return (
            f"version {self.version} {whom(self.trial)} now, after {self.seconds:.0f} s: "
            f"{self.folder}, {self.new_vectors:,} tweets' vectors stored"
        )


class Published(Result):
    """A version that was exported before."""

    version: str = Field(description="which serves now")
    folder: Path = Field(description="its exported files")
    trial: float | None = Field(description="share of the users whom it serves; null: all")
    new_vectors: int = Field(description="tweets that got a vector")

    def done(self) -> str:
        """A line."""
        return (
            f"version {self.version} {whom(self.trial)} now, {self.new_vectors:,} tweets' vectors stored: {self.folder}"
        )


def whom(trial: float | None) -> str:
    """Whom a version serves."""
    return "serves" if trial is None else f"serves {100 * trial:g} % of the users, on trial,"


def _retrain(command: argparse.ArgumentParser) -> None:
    add_settings(command, TrainingSettings)
    add_settings(command, Placement, "device")
    command.add_argument("--shard-users", action="store_true", help=Placement.model_fields["shard_users"].description)
    add_settings(command, Gate, "worse_by")
    command.add_argument("--force", action="store_true", help=Gate.model_fields["force"].description)
    command.add_argument("--dry-run", action="store_true", help="stop before anything is published")
    add_trial(command)
    add_cluster(command)


def _publish(command: argparse.ArgumentParser) -> None:
    add_version(command)
    add_trial(command)
    add_cluster(command)


VERBS = (
    Verb(
        name="retrain",
        help="train on the database and put the new version into service",
        run="training.commands.retraining:train",
        examples=("retrain", "retrain --dry-run --epochs 20", "retrain --trial .1"),
        options=_retrain,
        result=Retrained,
        more="One that was interrupted goes on when the same command is run again on the same data.\n"
        f"By several processes, on one machine or more (docs/retraining.md): {BY_TORCHRUN}",
        statuses=(Status.GATE_CLOSED,),
    ),
    Verb(
        name="publish",
        help="put an exported version into service; rebuilds Redis from SQL",
        run="training.commands.retraining:publish_version",
        examples=(
            "publish 20260401T120000Z-0123456789ab",
            "publish 20260401T120000Z-0123456789ab --trial .1",
        ),
        options=_publish,
        result=Published,
    ),
)
