"""Verbs for datasets: synthesize, import, export, demo."""

import argparse
from datetime import datetime
from pathlib import Path

from pydantic import Field

from contract.cli.options import add_settings
from contract.cli.result import Result
from contract.cli.verbs import Verb
from training.dataset.rows import FORMATS
from training.synthesize import SynthesisSettings


class Made(Result):
    """A dataset folder."""

    folder: Path = Field(description="the dataset")
    users: int = Field(description="users in it")
    follows: int = Field(description="follows")
    tweets: int = Field(description="image tweets")
    retweets: int = Field(description="retweets")
    exposures: int = Field(description="tweets that a user was shown, with what the user did")
    new_tweets: int = Field(description="tweets with a known answer, to be posted")

    def done(self) -> str:
        """A line."""
        return (
            f"made {self.users:,} users, {self.follows:,} follows, {self.tweets:,} image tweets and "
            f"{self.retweets:,} retweets in {self.folder}"
        )


class Imported(Result):
    """What came into the stores."""

    users: int = Field(description="new users")
    follows: int = Field(description="new follows")
    tweets: int = Field(description="new image tweets")
    retweets: int = Field(description="new retweets")
    hides: int = Field(description="new hides")
    deleted_tweets: int = Field(description="new ids of deleted tweets")
    known: int = Field(description="rows that were stored already")
    exposures: int | None = Field(description="exposures that were checked; null: the folder has none")
    rejected: dict[str, int] = Field(description="bad rows by table")
    rejects_file: Path | None = Field(description="the list of bad rows; null: there are none")

    def done(self) -> str:
        """A line, and one more for each kind that datasets may lack."""
        lines = [
            f"imported {self.users:,} new users, {self.follows:,} follows, {self.tweets:,} image tweets and "
            f"{self.retweets:,} retweets; {self.known:,} rows were stored already"
        ]
        if self.hides or self.deleted_tweets:
            lines.append(f"imported {self.hides:,} hides and {self.deleted_tweets:,} ids of deleted tweets")
        if self.exposures is not None:
            lines.append(
                f"checked {self.exposures:,} exposures; they stay in the folder, the database has no place for them"
            )
        return "\n".join(lines)

    def warnings(self) -> list[str]:
        """Of bad rows."""
        if not self.rejected:
            return []
        tables = ", ".join(f"{count:,} of {table}" for table, count in self.rejected.items())
        return [f"REJECTED {sum(self.rejected.values()):,} rows ({tables}): see {self.rejects_file}"]


class Exported(Result):
    """A dataset folder of the network."""

    folder: Path = Field(description="the dataset")
    rows: dict[str, int] = Field(description="rows by table")
    pictures: int = Field(description="pictures")
    picture_bytes: int = Field(description="their bytes")
    deleted_meanwhile: dict[str, datetime] = Field(description="tweets that were deleted meanwhile, and when")

    def done(self) -> str:
        """A line."""
        rows = self.rows
        return (
            f"exported {rows['users']:,} users, {rows['follows']:,} follows, {rows['tweets']:,} image tweets with "
            f"{self.pictures:,} pictures ({self.picture_bytes:,} bytes), {rows['retweets']:,} retweets, "
            f"{rows['hides']:,} hides and {rows['deleted_tweets']:,} ids of deleted tweets to {self.folder}"
        )

    def warnings(self) -> list[str]:
        """Of what is left out."""
        left_out = len(self.deleted_meanwhile)
        return [f"LEFT OUT {left_out:,} tweets that were deleted while the export ran"] if left_out else []


class CurlLines(Result):
    """Three lines to paste."""

    ask: str = Field(description="asks for a user's recommendations")
    post: str = Field(description="posts a picture that the user is likely to retweet")
    ask_again: str = Field(description="asks again")

    def table(self) -> list[str]:
        """The lines alone."""
        return [self.ask, self.post, self.ask_again]


def _synthesize(command: argparse.ArgumentParser) -> None:
    target = command.add_mutually_exclusive_group(required=True)
    target.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="the new folder to write")
    target.add_argument("--out", type=Path, metavar="FOLDER", help="the same, as an option")
    add_settings(command, SynthesisSettings)


def _import(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="FOLDER", help="the dataset")
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


def _export(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder to write, or an empty one")
    command.add_argument("--format", choices=FORMATS, default="jsonl", help="of the tables (default: jsonl)")


def _demo(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a dataset that `synthesize` made")
    command.add_argument(
        "--url",
        default="http://127.0.0.1:8000",
        help="where the service listens (default: http://127.0.0.1:8000)",
    )


VERBS = (
    Verb(
        name="synthesize",
        help="make a network with rendered pictures and written tweets",
        run="training.commands.data:make",
        examples=("synthesize var/dataset", "synthesize --size paper --seed 1 --out var/paper"),
        options=_synthesize,
        result=Made,
    ),
    Verb(
        name="import",
        help="put a dataset folder into the database, the blob store and Redis",
        run="training.commands.data:import_folder",
        examples=("import var/dataset", "import var/dataset --strict", "import var/dataset --rejects rejects.jsonl"),
        options=_import,
        result=Imported,
    ),
    Verb(
        name="export",
        help="write the whole network as a dataset folder, while the service may run",
        run="training.commands.data:export_folder",
        examples=("export var/exported", "export var/exported --format parquet"),
        options=_export,
        result=Exported,
    ),
    Verb(
        name="demo",
        help="print curl lines that show a made dataset at work",
        run="training.commands.data:demo",
        examples=("demo var/dataset", "demo var/dataset --url http://127.0.0.1:9000"),
        options=_demo,
        result=CurlLines,
    ),
)
