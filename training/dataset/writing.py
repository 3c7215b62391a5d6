"""Tables of a dataset folder to be, written part by part in any format; the same rows give the same bytes."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.dataset.rows import Format, Row

Write = Callable[[Sequence[Mapping[str, Any]]], None]
"""Appends rows: strings, UTC times, or None where an optional field has no value."""


@contextmanager
def writing(folder: Path, name: str, row_type: type[Row], kind: Format) -> Iterator[Write]:
    """The file of a table, open for rows with the schema's fields; complete once the block ends."""
    write = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet}[kind]
    with write(folder / f"{name}.{kind}", tuple(row_type.model_fields)) as append:
        yield append


@contextmanager
def _jsonl(path: Path, columns: tuple[str, ...]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="\n") as file:

        def append(rows: Sequence[Mapping[str, Any]]) -> None:
            for row in rows:
                values = {name: _text(row[name]) for name in columns if row[name] is not None}
                file.write(json.dumps(values, ensure_ascii=False) + "\n")

        yield append


@contextmanager
def _csv(path: Path, columns: tuple[str, ...]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")  # RFC 4180's; with it, both characters are quoted in a field
        writer.writerow(columns)
        yield lambda rows: writer.writerows([_text(row[name]) for name in columns] for row in rows)


@contextmanager
def _parquet(path: Path, columns: tuple[str, ...]) -> Iterator[Write]:
    types = {True: pa.timestamp("us", tz="UTC"), False: pa.string()}
    schema = pa.schema([(name, types[name.endswith("_at")]) for name in columns])
    with pq.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(list(rows), schema))


def _text(value: str | datetime | None) -> str | None:
    """A time as ISO 8601 in UTC, to the microsecond where it has any."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    return value
