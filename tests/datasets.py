"""Small dataset folders in every format, and their bad rows."""

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from contract.blobs import blob_key
from contract.progress import silent
from training.dataset.checks import Known
from training.dataset.folder import Dataset, read_dataset, read_exposures
from training.dataset.rejects import Rejects
from training.errors import InputRejected

FORMATS = ("jsonl", "csv", "parquet")

Rows = list[dict[str, Any]]


def tables() -> dict[str, Rows]:
    """Three users, two tweets; to be changed freely."""
    at = "2026-01-01T00:00:00Z"
    return {
        "users": [{"user_id": name, "created_at": at} for name in ("ann", "bob", "cem")],
        "follows": [
            {"follower_id": "ann", "followee_id": "bob", "created_at": at},
            {"follower_id": "bob", "followee_id": "cem", "created_at": at},
        ],
        "tweets": [tweet("t1", "bob"), tweet("t2", "cem")],
        "retweets": [event("ann", "t1"), event("bob", "t2")],
        "exposures": [event("ann", "t1"), event("bob", "t2"), event("ann", "t2", "2026-01-03T00:00:00+01:00")],
    }


def tweet(tweet_id: str, author_id: str, **values: Any) -> dict[str, Any]:
    usual = {"text": "Calm lake.", "created_at": "2026-01-02T00:00:00Z", "image": "red.png"}
    return {"tweet_id": tweet_id, "author_id": author_id} | usual | values


def event(user_id: str, tweet_id: str, created_at: str = "2026-01-02T12:00:00Z") -> dict[str, Any]:
    return {"user_id": user_id, "tweet_id": tweet_id, "created_at": created_at}


def write_folder(folder: Path, rows: dict[str, Rows], kind: str) -> Path:
    """Write the tables and one picture, red.png."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (9, 9), "red").save(folder / "red.png")
    for name, table in rows.items():
        write_table(folder / f"{name}.{kind}", table)
    return folder


def write_table(path: Path, rows: Rows) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        columns = {name: pa.array([_in_parquet(name, row[name]) for row in rows]) for name in rows[0]}
        pq.write_table(pa.table(columns), path)


def _in_parquet(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name == "created_at" else value


def line_of(kind: str, row: int) -> int:
    """The line (Parquet: the row) of a table's nth row, counted from 1."""
    return row + 1 if kind == "csv" else row


def read(folder: Path, rejects: Rejects | None = None) -> Dataset:
    """All tables, exposures too."""
    rejects = rejects or Rejects(strict=True)
    dataset = read_dataset(folder, Known(), rejects, blob_key, silent)
    list(read_exposures(folder, Known(), dataset, rejects) or ())
    return dataset


def listed(rejects: Rejects, folder: Path) -> list[dict[str, Any]]:
    """The list of rejects as it is written."""
    rejects.write(folder / "rejects.jsonl")
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text("utf-8").splitlines()]


def one_reject(folder: Path) -> dict[str, Any]:
    """The one bad row of a folder; under strict reading the same place and reason stop it."""
    rejects = Rejects(strict=False)
    read(folder, rejects)
    (reject,) = listed(rejects, folder)
    with pytest.raises(InputRejected) as caught:
        read(folder)
    unit = "row" if reject["file"].endswith(".parquet") else "line"
    field = f", field {reject['field']}" if reject["field"] else ""
    assert str(caught.value) == f"{reject['file']} {unit} {reject['line']}{field}: {reject['reason']}"
    assert "\n" not in reject["reason"]
    return reject
