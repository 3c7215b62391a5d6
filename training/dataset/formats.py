"""Tables in three formats, read row by row: NAME.jsonl, NAME.csv or NAME.parquet."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from training.dataset.rejects import Reject, place
from training.dataset.rows import Row, fault
from training.errors import InputRejected

R = TypeVar("R", bound=Row)
Columns = Mapping[str, bool]
"""The fields of a table, and whether each must be there."""

SUFFIXES = (".jsonl", ".csv", ".parquet")

_BLANK = " \t\r\n"
_BATCH = 16_384
_LONGEST_FIELD = 2**31 - 1
"""As long as it goes: a field that is longer than csv's own bound is a quote that was not closed."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a row stands and what was read there: a line of JSON, or the fields by column."""

    path: Path
    line: int
    raw: Any

    @property
    def place(self) -> str:
        """File and line."""
        return place(self.path, self.line)

    def reject(self, field: str | None, reason: str) -> Reject:
        """The row as a bad one."""
        return Reject(self.path, self.line, field, reason, _parsed(self.raw) if isinstance(self.raw, str) else self.raw)


def find_table(folder: Path, name: str) -> Path | None:
    """The one file of a table; None where there is none. Raises InputRejected where there are several."""
    found = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise InputRejected(f"{folder} has {names}: a table is one file: remove all but one")
    return found[0] if found else None


def read_table(folder: Path, name: str, row_type: type[R]) -> Iterator[tuple[Source, R | Reject]]:
    """Every row of a table in order, checked against the schema on its own, with its place.

    Raises InputRejected where the file is missing, or cannot be read as a whole: not UTF-8, not Parquet, a column
    missing or of a wrong type.
    """
    path = find_table(folder, name)
    if path is None:
        given = f"{name}.jsonl, {name}.csv or {name}.parquet"
        raise InputRejected(f"{folder / name}.jsonl is missing: give {given}, without rows where there is nothing")
    read = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}[path.suffix]
    columns = {name: field.is_required() for name, field in row_type.model_fields.items()}
    for line, raw in read(path, columns):
        source = Source(path, line, raw)
        if isinstance(raw, _Broken):
            yield source, Reject(path, line, None, raw.reason, raw.row)
            continue
        try:
            yield source, row_type.model_validate_json(raw) if isinstance(raw, str) else row_type.model_validate(raw)
        except ValidationError as error:
            yield source, source.reject(*fault(error))


@dataclass(frozen=True, slots=True)
class _Broken:
    """What stands where a row should."""

    reason: str
    row: Any


def _lines(path: Path) -> Iterator[str]:
    """Lines with their ends, of whatever kind; a byte order mark is taken off."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except UnicodeDecodeError:
        _refuse_encoding(path)


def _refuse_encoding(path: Path) -> NoReturn:
    data, start = path.read_bytes(), 0
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start
    line = len(re.findall(rb"\r\n|\r|\n", data[:start])) + 1
    raise InputRejected(f"{path} line {line}: is not UTF-8: save the file as UTF-8")


def _jsonl(path: Path, _columns: Columns) -> Iterator[tuple[int, str | _Broken]]:
    blank: list[int] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip(_BLANK):
            blank.append(number)
            continue
        yield from _between(blank)
        yield number, line.rstrip("\r\n")


def _between(blank: list[int]) -> Iterator[tuple[int, _Broken]]:
    """Blank lines that turned out not to be the last ones."""
    for number in blank:
        yield number, _Broken("is blank: remove the line", "")
    blank.clear()


def _csv(path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, str] | _Broken]]:
    records = _csv_records(path)
    _, header = next(records, (1, []))
    if isinstance(header, _Broken):
        raise InputRejected(f"{path} line 1: {header.reason}")
    require_columns(path, columns, header, "line 1 is the header")
    blank: list[int] = []
    for number, record in records:
        if not record:
            blank.append(number)
            continue
        yield from _between(blank)
        if isinstance(record, _Broken):
            yield number, record
        elif len(record) != len(header):
            reason = f"has {len(record)} fields, the header {len(header)}: quote a field with a comma or a quote in it"
            yield number, _Broken(reason, record)
        else:
            fields = zip(header, record, strict=True)
            yield number, {name: value for name, value in fields if value or columns.get(name, True)}


def _csv_records(path: Path) -> Iterator[tuple[int, list[str] | _Broken]]:
    """The first line and the fields of each record.

    Raises InputRejected where a quote is never closed, or closed by one of a later line: all between is inside it.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    record_lines: list[str] = []

    def remembered() -> Iterator[str]:
        for line in _lines(path):
            record_lines.append(line)
            yield line

    reader = csv.reader(remembered(), strict=True)
    while True:
        number = reader.line_num + 1
        record_lines.clear()
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if str(error) == "unexpected end of data":
                raise InputRejected(f"{path} line {number}: a quote is opened and never closed: close it") from error
            if len(record_lines) > 1:
                last = number + len(record_lines) - 1
                raise InputRejected(
                    f"{path} line {number}: a quote is opened here and wrongly closed on line {last}: close it, and "
                    "double the quotes inside a field"
                ) from error
            reason = f"is no CSV ({error}): put the field in quotes and double the quotes inside"
            yield number, _Broken(reason, "".join(record_lines).rstrip("\r\n"))


def require_columns(path: Path, columns: Columns, found: list[str], where: str) -> None:
    """Raises InputRejected where a column is missing, or is there more than once."""
    for wrong, names in (
        ("missing", [name for name, required in columns.items() if required and name not in found]),
        ("there more than once", [name for name in columns if found.count(name) > 1]),
    ):
        if names:
            raise InputRejected(
                f"{path}, column {' and '.join(names)}: {wrong} ({where}: {', '.join(found) or 'empty'}): "
                "give each column once, by its name"
            )


def _parquet(path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with pq.ParquetFile(path) as file:
            require_columns(path, columns, file.schema_arrow.names, "columns")
            present = [name for name in columns if name in file.schema_arrow.names]
            for name in present:
                require_type(path, name, file.schema_arrow.field(name).type)
            number = 0
            for batch in file.iter_batches(_BATCH, columns=present):
                values = [python_values(batch.column(name)) for name in present]
                for row in zip(*values, strict=True):
                    number += 1
                    yield number, dict(zip(present, row, strict=True))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputRejected(f"{path} cannot be read as Parquet ({reason}): write the file again") from error


def require_type(path: Path, name: str, type: pa.DataType) -> None:  # noqa: A002
    """Raises InputRejected where a column of Parquet has neither strings nor what its name allows."""
    value = type.value_type if pa.types.is_dictionary(type) else type
    if pa.types.is_timestamp(value) and name.endswith("_at"):
        if value.tz is None:
            raise InputRejected(
                f"{path}, column {name}: its timestamps have no time zone: write them with one, "
                'as pandas does after .dt.tz_localize("UTC")'
            )
        return
    text = pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)
    if not (text or pa.types.is_null(value) or (pa.types.is_integer(value) and name.endswith("_id"))):
        wanted = "timestamps with a time zone, or strings" if name.endswith("_at") else "strings"
        raise InputRejected(f"{path}, column {name} has the type {type}: write {wanted}")


def python_values(column: pa.Array) -> list[Any]:
    """Strings, bytes and UTC moments; integers, which are ids, become their decimal strings."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if pa.types.is_timestamp(column.type):
        moments = column.cast(options=pc.CastOptions(pa.timestamp("us", tz="UTC"), allow_time_truncate=True))
        return [None if value is None else _moment(value) for value in moments.cast(pa.int64()).to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _moment(microseconds: int) -> datetime | str:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} µs after 1970"


def _parsed(line: str) -> Any:
    """A line's JSON value; its text where it has none."""
    try:
        return json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return line


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
