"""Rows of Parquet files as shards: tweet_id, text, and image, which is a picture's bytes or its path beside the file.

A shard is a row group, which is read a few rows at a time. Paths are of fsspec, so that files may be in a bucket.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from contract.fields import TweetText
from contract.filesystems import open_url, os_errors
from contract.ids import Id
from contract.passwords import without_passwords
from training.dataset.formats import python_values, require_columns, require_type
from training.dataset.rejects import place
from training.dataset.rows import Row, fault
from training.encoding.encoder import BATCH
from training.encoding.shards import Post, Refused
from training.errors import InputRejected

_BUFFER_BYTES = 1 << 20
"""Of a column that is read: not the whole row group, whose pictures may be larger than the memory."""


class ImageRow(Row):
    """A row to encode; other columns are ignored."""

    key_fields: ClassVar[tuple[str, ...]] = ("tweet_id",)

    tweet_id: Id
    text: TweetText
    image: bytes | str


COLUMNS = tuple(ImageRow.model_fields)


@dataclass(frozen=True)
class RowGroup:
    """A shard; `duplicates` are rows, counted from 1 in the whole file, whose id stands before, and where."""

    number: int
    fs: Any
    path: str
    group: int
    first_row: int
    ids_sha256: str
    duplicates: dict[int, str] = field(default_factory=dict)

    def posts(self) -> Iterator[Post | Refused]:
        """Raises InputRejected where the file cannot be read."""
        row = self.first_row
        with opened(self.fs, self.path) as file:
            for batch in file.iter_batches(BATCH, row_groups=[self.group], columns=COLUMNS):
                values = [python_values(batch.column(name)) for name in COLUMNS]
                for found in zip(*values, strict=True):
                    yield self._checked(row, dict(zip(COLUMNS, found, strict=True)))
                    row += 1

    def picture(self, image: str) -> bytes:
        """Of a path beside the file."""
        with os_errors(self.fs):
            data: bytes = self.fs.cat_file(f"{self.fs._parent(self.path)}/{image}")
        return data

    def place(self, image: str) -> str:
        return image

    def _checked(self, row: int, raw: dict[str, Any]) -> Post | Refused:
        shown = raw if isinstance(raw["image"], str) else {name: raw[name] for name in ("tweet_id", "text")}
        try:
            read = ImageRow.model_validate(raw)
        except ValidationError as error:
            return Refused(row, *fault(error), shown)
        if row in self.duplicates:
            reason = f"duplicate of {self.duplicates[row]} ({read.tweet_id}): remove one of the two"
            return Refused(row, None, reason, shown)
        if read.image in ("", "."):
            return Refused(row, "image", "names no file: give its path beside this one", shown)
        if isinstance(read.image, str) and not _inside(read.image):
            return Refused(row, "image", f"{read.image} lies outside the folder: move it in", shown)
        return Post(row, read.tweet_id, read.text, read.image)


def row_groups(source: str) -> list[RowGroup]:
    """Of a file, or of all *.parquet in a folder and below, in the order of their paths; ids are looked at already.

    Raises StoreUnavailable where the place cannot be used; InputRejected where there are none, or a file lacks a column
    or has one of a wrong type.
    """
    fs, root = open_url(source, "--from")
    groups: list[RowGroup] = []
    columns: list[pa.ChunkedArray] = []
    for path in _files(fs, root, source):
        with opened(fs, path) as file:
            _check_columns(path, file.schema_arrow)
            first_row = 1
            for group in range(file.num_row_groups):
                ids = pa.chunked_array([pa.array(_ids(file, group), pa.large_string())])
                groups.append(RowGroup(len(groups), fs, path, group, first_row, _digest(ids)))
                columns.append(ids)
                first_row += len(ids)
    _mark_duplicates(groups, columns)
    return groups


def ids_digest(groups: list[RowGroup]) -> str:
    """Of all ids and how they are cut into row groups, 64 hex digits."""
    return hashlib.sha256("".join(group.ids_sha256 for group in groups).encode()).hexdigest()


@contextmanager
def opened(fs: Any, path: str) -> Iterator[pq.ParquetFile]:
    """A file whose pages are read as they are needed. Raises InputRejected where it is none."""
    try:
        with (
            os_errors(fs),
            fs.open(path, "rb") as raw,
            pq.ParquetFile(raw, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file,
        ):
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputRejected(f"{path} cannot be read as Parquet ({reason}): write the file again") from error


def _files(fs: Any, root: str, source: str) -> list[str]:
    paths = [root] if fs.isfile(root) else sorted(path for path in fs.find(root) if path.endswith(".parquet"))
    if not paths:
        raise InputRejected(f"{without_passwords(source)} has no Parquet files: name a file, or a folder of *.parquet")
    return paths


def _check_columns(path: str, schema: pa.Schema) -> None:
    require_columns(Path(path), dict.fromkeys(COLUMNS, True), schema.names, "columns")
    for name in COLUMNS:
        kind = schema.field(name).type
        if name != "image" or not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            require_type(Path(path), name, kind)


def _ids(file: pq.ParquetFile, group: int) -> list[Any]:
    return [
        value for chunk in file.read_row_group(group, ["tweet_id"]).column(0).chunks for value in python_values(chunk)
    ]


def _digest(ids: pa.ChunkedArray) -> str:
    return hashlib.sha256("\n".join(str(value) for value in ids.to_pylist()).encode()).hexdigest()


def _mark_duplicates(groups: list[RowGroup], columns: list[pa.ChunkedArray]) -> None:
    """Of all rows with the same id the first one stays."""
    if not columns:
        return
    ids = pa.chunked_array([chunk for column in columns for chunk in column.chunks]).combine_chunks()
    codes: npt.NDArray[np.int64] = ids.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    _, first_of_code, code_of_row = np.unique(codes, return_index=True, return_inverse=True)
    first = first_of_code[code_of_row]
    starts = np.cumsum([0, *(len(column) for column in columns)])
    for row in np.flatnonzero((first != np.arange(len(codes))) & (codes >= 0)).tolist():
        mine, its = (int(np.searchsorted(starts, at, "right")) - 1 for at in (row, first[row]))
        where = place(Path(groups[its].path), groups[its].first_row + int(first[row] - starts[its]))
        groups[mine].duplicates[groups[mine].first_row + int(row - starts[mine])] = where


def _inside(image: str) -> bool:
    path = PurePosixPath(image)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in image
