"""Verbs for backups: backup, restore."""

import argparse
from datetime import datetime

from pydantic import Field

from contract.cli.result import Result
from contract.cli.verbs import Verb


class Kept(Result):
    """What is in a backup."""

    place: str = Field(description="folder or URL, without its password")
    created_at: datetime = Field(description="when its snapshot was taken")
    rows: dict[str, int] = Field(description="rows by table")
    pictures: int = Field(description="pictures")
    models: list[str] = Field(description="versions")

    def told(self) -> str:
        """In words."""
        rows = self.rows
        network = f"{rows['users']:,} users, {rows['follows']:,} follows, {rows['tweets']:,} image tweets"
        more = f"{self.pictures:,} pictures, {rows['retweets']:,} retweets and {rows['api_keys']:,} keys"
        return f"{network}, {more}; models: {', '.join(self.models) or 'none'}"


class BackedUp(Kept):
    """A new backup."""

    left_out: int = Field(description="tweets that were deleted meanwhile")

    def done(self) -> str:
        """A line."""
        return f"backed up {self.told()} to {self.place}"

    def warnings(self) -> list[str]:
        """Of what is left out."""
        return [f"LEFT OUT {self.left_out:,} tweets that were deleted meanwhile"] if self.left_out else []


class Restored(Kept):
    """A backup that was put back."""

    wrote_sql: bool = Field(description="false: SQL had as many rows already and was left as it is")
    not_written: dict[str, str] = Field(description="versions that Redis does not have, and why")
    valid_keys: int = Field(description="API keys that are not revoked")

    def done(self) -> str:
        """A line."""
        if self.wrote_sql:
            return f"restored {self.told()} from {self.place}"
        return (
            "SQL has as many rows already and was left as it is; models and pictures that were missing are restored "
            f"from {self.place}, and Redis is written anew. "
            "Where SQL is to be as it was then: restore into an empty one"
        )

    def warnings(self) -> list[str]:
        """What is not there, and what is undone by a restore."""
        said = [
            f"NOT WRITTEN to Redis: {version} ({fault}); where it was on trial, that is ended"
            for version, fault in self.not_written.items()
        ]
        if self.wrote_sql:
            said.append(
                f"All is as of {self.created_at:%Y-%m-%d %H:%M} UTC. Users and tweets that were deleted since are "
                f"back: delete them again. {self.valid_keys:,} keys are valid: revoke again those that were revoked "
                "since (`python -m service keys list`)"
            )
        return said


def _backup(command: argparse.ArgumentParser) -> None:
    command.add_argument("place", metavar="PLACE", help="a new folder, or an fsspec URL such as s3://bucket/name")


def _restore(command: argparse.ArgumentParser) -> None:
    command.add_argument("place", metavar="PLACE", help="where `backup` wrote it")


VERBS = (
    Verb(
        name="backup",
        help="copy SQL, pictures and the models that serve to a folder or URL, while the service may run",
        run="training.commands.backups:backup",
        examples=("backup /mnt/backups/monday", "backup s3://bucket/monday"),
        options=_backup,
        result=BackedUp,
    ),
    Verb(
        name="restore",
        help="put a backup into empty stores, and Redis from it",
        run="training.commands.backups:put_back",
        examples=("restore /mnt/backups/monday", "restore s3://bucket/monday"),
        options=_restore,
        result=Restored,
    ),
)
