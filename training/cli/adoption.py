"""The verb for somebody's own pictures: adopt."""

import argparse
from pathlib import Path

from pydantic import Field

from contract.cli.result import Result
from contract.cli.verbs import Verb
from training.cli.arguments import at_least_one, not_negative


class Adopted(Result):
    """A dataset folder of own pictures."""

    folder: Path = Field(description="the dataset")
    users: int = Field(description="users in it")
    follows: int = Field(description="follows")
    tweets: int = Field(description="image tweets, one a picture")
    retweets: int = Field(description="retweets")
    kinds: dict[str, int] = Field(description="pictures by kind")
    left_out: dict[str, str] = Field(description="files that cannot be used, and why")

    def done(self) -> str:
        """Two lines."""
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in sorted(self.kinds.items()))
        return (
            f"made {self.users:,} users, {self.follows:,} follows, {self.tweets:,} image tweets and "
            f"{self.retweets:,} retweets in {self.folder}\nkinds that people like: {kinds}"
        )

    def warnings(self) -> list[str]:
        """Of what is left out, a line a file."""
        return [f"LEFT OUT {name}: {reason}" for name, reason in self.left_out.items()]


def _adopt(command: argparse.ArgumentParser) -> None:
    command.add_argument("pictures", type=Path, metavar="PICTURES", help="a folder of pictures, best with one a kind")
    command.add_argument("out", type=Path, metavar="OUT", help="the new dataset folder to write")
    command.add_argument("--people", type=at_least_one, default=60, metavar="COUNT", help="to make (default: 60)")
    command.add_argument("--seed", type=not_negative, default=0, metavar="N", help="draws other people (default: 0)")


VERBS = (
    Verb(
        name="adopt",
        help="make a dataset folder of your own pictures, with made people who like some kinds of them",
        run="training.commands.adoption:adopt_folder",
        examples=("adopt my-pictures var/own/dataset", "adopt my-pictures var/own/dataset --people 200 --seed 1"),
        options=_adopt,
        result=Adopted,
    ),
)
