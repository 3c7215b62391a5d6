"""A backup's files: where they are, and rows as lines of JSON."""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import LargeBinary, Table

from contract.blobs import BlobStore
from contract.errors import StoreUnavailable
from contract.filesystems import is_local, is_s3, on_disk, open_url, os_errors, write_whole
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
            self.fs, self.root = open_url(url, "PLACE")
        except StoreUnavailable as error:
            raise BackupFailed(f"{error}: name a folder, or an fsspec URL such as s3://bucket/name") from None

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
        with os_errors(self.fs):
            return bool(self.fs.exists(self.path(name)))

    def write(self, name: str, data: bytes) -> str:
        """Write a file, whole or not at all, and its SHA-256."""
        write_whole(self.fs, self.path(name), data)
        return hashlib.sha256(data).hexdigest()

    def put(self, name: str, file: Path) -> str:
        """Write a file as it is on this machine, and the SHA-256 of what was written. Raises FileNotFoundError."""
        path, digest = self.path(name), hashlib.sha256()
        if not is_s3(self.fs):
            self.fs.makedirs(self.fs._parent(path), exist_ok=True)
        with os_errors(self.fs), file.open("rb") as source, self.fs.open(path, "wb") as target:
            while part := source.read(_BYTES_AT_A_TIME):
                digest.update(part)
                target.write(part)
        on_disk(self.fs, path)
        on_disk(self.fs, self.fs._parent(path))
        return digest.hexdigest()

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        with os_errors(self.fs):
            data: bytes = self.fs.cat_file(self.path(name))
        return data

    def download(self, name: str, folder: Path) -> None:
        """The files of a folder in it into one of this machine; none where there is no such folder."""
        with os_errors(self.fs):
            for path in self.fs.ls(self.path(name), detail=False) if self.has(name) else []:
                self.fs.get_file(path, str(folder / Path(path).name))

    def pictures(self) -> BlobStore:
        """Its store of pictures. Raises StoreUnavailable."""
        return BlobStore(self._url, "images", "PLACE")


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
