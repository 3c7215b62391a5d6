"""The verb for bulk encoding: encode."""

import argparse
from pathlib import Path

from pydantic import Field

from contract.cli.result import Result
from contract.cli.verbs import Verb
from training.cli.arguments import add_cluster, version_name

_VERSION = "20260401T120000Z-0123456789ab"


class Encoded(Result):
    """Vectors under a version."""

    version: str = Field(description="whose encoder it was")
    encoded: int = Field(description="vectors that are new")
    known: int = Field(description="vectors that were there already")
    in_redis: bool = Field(description="whether Redis has them: the version's vectors are kept")
    to: str | None = Field(description="the folder of Parquet files; null: none was named")
    picture_bytes: int = Field(description="bytes of the pictures that were read")
    rejected: dict[str, int] = Field(description="bad rows by file, or of the table tweets")
    rejects_file: Path | None = Field(description="the list of bad rows; null: there are none")
    seconds: float = Field(description="how long it took")

    def done(self) -> str:
        """A line."""
        where = [*(["Redis"] if self.in_redis else []), *([self.to] if self.to else [])]
        all_in = f", all in {' and '.join(where)}" if where else ""
        return (
            f"encoded {self.encoded:,} tweets under {self.version} in {self.seconds:.0f} s, "
            f"{self.known:,} had a vector already{all_in}"
        )

    def warnings(self) -> list[str]:
        """Of bad rows."""
        if not self.rejected:
            return []
        tables = ", ".join(f"{count:,} of {table}" for table, count in self.rejected.items())
        return [f"REJECTED {sum(self.rejected.values()):,} rows ({tables}): see {self.rejects_file}"]


def _encode(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "version", type=version_name, nargs="?", metavar="VERSION", help="left out: the one that serves"
    )
    command.add_argument(
        "--from",
        dest="source",
        metavar="PLACE",
        help="a Parquet file, or a folder or fsspec URL of some, with tweet_id, text and image (default: the database)",
    )
    command.add_argument(
        "--to", metavar="PLACE", help="folder or fsspec URL for vectors in Parquet (default: none; needed with --from)"
    )
    bad_rows = command.add_mutually_exclusive_group()
    bad_rows.add_argument("--strict", action="store_true", help="fail where there is a bad row")
    bad_rows.add_argument(
        "--rejects", type=Path, metavar="FILE", help="list bad rows here (default: VAR_DIR/rejects/encode-TIME.jsonl)"
    )
    add_cluster(command)


VERBS = (
    Verb(
        name="encode",
        help="encode tweets in bulk, in this process or by workers on a Ray cluster",
        run="training.commands.encoding:encode",
        examples=(
            "encode",
            f"encode {_VERSION} --ray auto --workers 8",
            f"encode {_VERSION} --from pictures.parquet --to vectors",
        ),
        options=_encode,
        result=Encoded,
        more="What has a vector is not encoded again: one that was interrupted goes on.",
    ),
)
