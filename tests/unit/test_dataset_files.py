from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets import one_reject, read, tables, tweet, write_folder, write_table
from training.dataset.rejects import Rejects
from training.errors import InputRejected

LATER = {"created_at": "2026-02-01T00:00:00Z"}


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_line_ends_may_be_mixed(tmp_path: Path, kind: str) -> None:
    rows = tables()
    rows["users"].append({"user_id": "dan"} | LATER)
    folder = write_folder(tmp_path, rows, kind)
    path = folder / f"users.{kind}"
    first, second, third, *others = path.read_bytes().splitlines()
    path.write_bytes(first + b"\n" + second + b"\r\n" + third + b"\r" + b"\n".join(others))
    assert [*read(folder).users] == [("ann",), ("bob",), ("cem",), ("dan",)]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_byte_order_mark_and_blank_lines_at_the_end_are_fine(tmp_path: Path, kind: str) -> None:
    folder = write_folder(tmp_path, tables(), kind)
    path = folder / f"users.{kind}"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n\r\n\n")
    assert len(read(folder).users) == 3


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_blank_line_between_rows_is_rejected(tmp_path: Path, kind: str) -> None:
    folder = write_folder(tmp_path, tables(), kind)
    path = folder / f"users.{kind}"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n", 1))
    reject = one_reject(folder)
    assert (reject["line"], reject["reason"]) == (2, "is blank: remove the line")


@pytest.mark.parametrize(
    ("line", "reason"),
    [("dan,2026-01-01T00:00:00Z,more", "has 3 fields, the header 2"), ('"dan"x,2026-01-01T00:00:00Z', "is no CSV")],
)
def test_a_csv_line_of_another_shape_is_rejected(tmp_path: Path, line: str, reason: str) -> None:
    folder = write_folder(tmp_path, tables(), "csv")
    path = folder / "users.csv"
    path.write_text(path.read_text().replace("bob", f"{line}\nbob", 1))
    reject = one_reject(folder)
    assert reject["line"] == 3
    assert reject["row"] in (line, line.split(","))
    assert reason in reject["reason"]


def test_a_csv_row_after_a_text_of_several_lines_is_named_by_its_own_line(tmp_path: Path) -> None:
    rows = tables()
    rows["tweets"] = [tweet("t1", "bob", text="one\ntwo\nthree"), tweet("t2", "cem"), tweet("t3", "nobody")]
    assert one_reject(write_folder(tmp_path, rows, "csv"))["line"] == 6


def not_utf8(folder: Path) -> None:
    (folder / "users.csv").write_bytes((folder / "users.csv").read_bytes() + b"d\xff\n")


def no_column(folder: Path) -> None:
    (folder / "users.csv").write_text("user_id;created_at\n")


def twice_a_column(folder: Path) -> None:
    (folder / "users.csv").write_text("user_id,created_at,user_id\n")


def no_header(folder: Path) -> None:
    (folder / "users.csv").write_bytes(b"")


def open_quote(folder: Path) -> None:
    path = folder / "users.csv"
    path.write_text(path.read_text().replace("cem", '"cem'))


def long_after_an_open_quote(folder: Path) -> None:
    """More follows than csv's own bound of a field."""
    open_quote(folder)
    with (folder / "users.csv").open("a") as file:
        file.writelines(f"{number:05},2026-01-01T00:00:00Z\n" for number in range(5_000))


def quote_in_a_later_row(folder: Path) -> None:
    open_quote(folder)
    with (folder / "users.csv").open("a") as file:
        file.write('dan,2026-01-01T00:00:00Z\n"eve",2026-01-01T00:00:00Z\nfay,2026-01-01T00:00:00Z\n')


def no_parquet(folder: Path) -> None:
    (folder / "users.csv").rename(folder / "users.parquet")


def in_parquet(**columns: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "users.csv").unlink()
        pq.write_table(pa.table(columns), folder / "users.parquet")

    return damage


def two_files(folder: Path) -> None:
    write_table(folder / "users.jsonl", tables()["users"])


def no_file(folder: Path) -> None:
    (folder / "users.csv").unlink()


MOMENTS = pa.array([0], pa.timestamp("ms", tz="Europe/Berlin"))


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (not_utf8, ["users.csv line 5: is not UTF-8"]),
        (no_column, ["users.csv, column user_id and created_at: missing", "user_id;created_at"]),
        (twice_a_column, ["users.csv, column user_id: there more than once"]),
        (no_header, ["users.csv, column user_id and created_at: missing", "empty"]),
        (open_quote, ["users.csv line 4: a quote is opened and never closed"]),
        (long_after_an_open_quote, ["users.csv line 4: a quote is opened and never closed"]),
        (quote_in_a_later_row, ["users.csv line 4: a quote is opened here and wrongly closed on line 6"]),
        (no_parquet, ["users.parquet cannot be read as Parquet"]),
        (in_parquet(user_id=["a"]), ["users.parquet, column created_at: missing"]),
        (in_parquet(user_id=["a"], created_at=pa.array([0], pa.timestamp("us"))), ["have no time zone", "tz_localize"]),
        (in_parquet(user_id=["a"], created_at=[5]), ["column created_at has the type int64"]),
        (in_parquet(user_id=[0.5], created_at=MOMENTS), ["column user_id has the type double: write strings"]),
        (two_files, ["users.jsonl and users.csv", "remove all but one"]),
        (no_file, ["users.jsonl is missing: give users.jsonl, users.csv or users.parquet"]),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_is_an_error(
    tmp_path: Path, damage: Callable[[Path], None], parts: list[str]
) -> None:
    folder = write_folder(tmp_path, tables(), "csv")
    damage(folder)
    with pytest.raises(InputRejected) as caught:
        read(folder, Rejects(strict=False))
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_has_integer_ids_dictionaries_and_any_unit_of_time(tmp_path: Path, unit: str) -> None:
    folder = write_folder(tmp_path, {name: rows[:0] for name, rows in tables().items()}, "jsonl")
    (folder / "users.jsonl").unlink()
    moments = pa.array([1_767_225_600] * 2, pa.int64()).cast(pa.timestamp("s", tz="Asia/Tokyo"))
    ids = pa.array([2**63, 7], pa.uint64())
    names = pa.array(["x", "y"]).dictionary_encode()
    pq.write_table(
        pa.table({"user_id": ids, "created_at": moments.cast(pa.timestamp(unit, tz="UTC"))}), folder / "users.parquet"
    )
    users = read(folder).users
    assert [*users] == [(str(2**63),), ("7",)]
    assert users[("7",)].created_at.isoformat() == "2026-01-01T00:00:00+00:00"
    pq.write_table(pa.table({"user_id": names, "created_at": moments}), folder / "users.parquet")
    assert [*read(folder).users] == [("x",), ("y",)]


@pytest.mark.parametrize("column", ["user_id", "created_at"])
def test_a_null_in_parquet_is_rejected(tmp_path: Path, column: str) -> None:
    folder = write_folder(tmp_path, {name: rows[:0] for name, rows in tables().items()}, "jsonl")
    (folder / "users.jsonl").unlink()
    columns = {"user_id": pa.array(["x", "y"]), "created_at": pa.array([0, 1], pa.timestamp("us", tz="UTC"))}
    columns[column] = pa.array([columns[column][0].as_py(), None], columns[column].type)
    pq.write_table(pa.table(columns), folder / "users.parquet")
    reject = one_reject(folder)
    assert (reject["line"], reject["field"]) == (2, column)


def test_a_moment_that_python_has_not_is_rejected(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {name: rows[:0] for name, rows in tables().items()}, "jsonl")
    (folder / "users.jsonl").unlink()
    moments = pa.array([2**62], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"user_id": ["x"], "created_at": moments}), folder / "users.parquet")
    assert one_reject(folder)["field"] == "created_at"
