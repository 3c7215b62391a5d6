"""A backup's files: where they are, and rows as lines of JSON."""

import base64
import gzip
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
from sqlalchemy import LargeBinary, Table

from contract.blobs import BlobStore, is_local, on_disk, write_whole
from contract.passwords import without_passwords
from contract.tables import UtcDateTime
from training.errors import BackupFailed

Rows = Sequence[Mapping[Any, Any]]
_BYTES_AT_A_TIME = 1 << 20


class Place:
    """Where a backup is: a folder or an fsspec URL, which messages show without its password."""

    def __init__(self, url: str) -> None:
        """Raises BackupFailed where fsspec cannot use it."""
        self._url = url
        self.shown = without_passwords(url)
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError, OSError) as error:
            reason = without_passwords(str(error))
            raise BackupFailed(
                f"PLACE {self.shown} cannot be used ({reason}): name a folder, or an fsspec URL such as s3://bucket/name"
            ) from None  # a log would show the cause

    def make(self) -> None:
        """A new folder is for its owner alone; one that is there stays as it is. Raises BackupFailed."""
        if not is_local(self.fs):
            return
        try:
            Path(self.root).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BackupFailed(f"PLACE {self.shown} cannot be used ({error.strerror}): name a new folder") from error

    def path(self, name: str) -> str:
        """Of something in it."""
        return f"{self.root}/{name}"

    def has(self, name: str) -> bool:
        """Whether there is something."""
        return bool(self.fs.exists(self.path(name)))

    def write(self, name: str, data: bytes) -> str:
        """Write a file, whole or not at all, and its SHA-256."""
        path = self._with_folder(name)
        write_whole(self.fs, path, data, f"{path}.{uuid.uuid4().hex}.partial")
        return hashlib.sha256(data).hexdigest()

    def put(self, name: str, file: Path) -> str:
        """Write a file as it is on this machine, and the SHA-256 of what was written. Raises FileNotFoundError."""
        path, digest = self._with_folder(name), hashlib.sha256()
        with file.open("rb") as source, self.fs.open(path, "wb") as target:
            while part := source.read(_BYTES_AT_A_TIME):
                digest.update(part)
                target.write(part)
        on_disk(self.fs, path)
        on_disk(self.fs, self.fs._parent(path))
        return digest.hexdigest()

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        data: bytes = self.fs.cat_file(self.path(name))
        return data

    def pictures(self) -> BlobStore:
        """Its store of pictures. Raises StoreUnavailable."""
        return BlobStore(self._url, "images", "PLACE")

    def _with_folder(self, name: str) -> str:
        path = self.path(name)
        self.fs.makedirs(self.fs._parent(path), exist_ok=True)
        return path


def packed(table: Table, rows: Rows) -> bytes:
    """Rows as lines of JSON, compressed."""

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.isoformat()
        return base64.b64encode(value).decode() if isinstance(value, bytes) else value

    names = [column.name for column in table.columns]
    lines = (json.dumps({name: plain(row[name]) for name in names}, ensure_ascii=False) for row in rows)
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def unpacked(table: Table, data: bytes) -> Iterator[dict[str, Any]]:
    """What `packed` wrote."""
    times = {column.name for column in table.columns if isinstance(column.type, UtcDateTime)}
    binary = {column.name for column in table.columns if isinstance(column.type, LargeBinary)}
    for line in filter(None, gzip.decompress(data).decode().split("\n")):  # other line ends may stand in words
        row: dict[str, Any] = json.loads(line)
        for name in times & row.keys():
            row[name] = row[name] and datetime.fromisoformat(row[name])
        for name in binary & row.keys():
            row[name] = base64.b64decode(row[name])
        yield row
