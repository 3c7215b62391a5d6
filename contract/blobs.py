"""Image bytes, in a folder by default and in any store fsspec knows by URL (s3://..., gs://..., memory://)."""

import hashlib
import os
import re
import time
import uuid
from contextlib import suppress
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from contract.errors import StoreUnavailable

_PARTIAL = ".partial"
_ABANDONED_SECONDS = 3_600.0
_KEY = re.compile("[0-9a-f]{64}")


def blob_key(data: bytes) -> str:
    """The key of some bytes: their SHA-256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


class BlobStore:
    """Content-addressed: the key of some bytes is their SHA-256, so a second write of the same picture is free.

    Calls block; an event loop uses a thread.
    """

    def __init__(self, url: str) -> None:
        """Raises StoreUnavailable where fsspec has no such protocol or the root cannot be made."""
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
            self._is_folder = isinstance(self._fs, LocalFileSystem)
            self._fs.makedirs(f"{self._root}/{_PARTIAL}", exist_ok=True)
        except (ValueError, ImportError, OSError) as error:
            raise StoreUnavailable(f"BLOB_URL {url} cannot be used: {error}") from error

    def put(self, data: bytes) -> str:
        """Store bytes under their SHA-256 (64 hex digits), which is returned. No reader ever sees a part of them.

        In a folder they are on the disk when this returns. Where it fails, nothing is left.
        """
        key = blob_key(data)
        path = self._path(key)
        if not self._fs.exists(path):
            self._fs.makedirs(self._fs._parent(path), exist_ok=True)
            partial = f"{self._root}/{_PARTIAL}/{uuid.uuid4().hex}"
            try:
                self._write(partial, data)
                self._fs.mv(partial, path)
            except BaseException:
                with suppress(OSError):  # it may not have been made
                    self._fs.rm_file(partial)
                raise
            if self._is_folder:
                _sync_folder(self._fs._parent(path))
                _sync_folder(self._root)
        return key

    def get(self, key: str) -> bytes:
        """The bytes of a key. Raises FileNotFoundError."""
        data: bytes = self._fs.cat_file(self._path(key))
        return data

    def sweep(self) -> int:
        """Remove what processes that were killed were writing to a folder; how many parts of pictures that were."""
        if not self._is_folder:
            return 0
        oldest = time.time() - _ABANDONED_SECONDS
        left = [part for part in Path(self._root, _PARTIAL).iterdir() if part.stat().st_mtime < oldest]
        for part in left:
            part.unlink(missing_ok=True)
        return len(left)

    def exists(self, key: str) -> bool:
        """Whether there are bytes under a key."""
        return bool(self._fs.exists(self._path(key)))

    def delete(self, key: str) -> None:
        """Remove the bytes of a key; a key that is not there changes nothing."""
        if self.exists(key):
            self._fs.rm_file(self._path(key))

    def place(self, key: str) -> str:
        """Where the bytes of a key are, in words."""
        return f"image {key} of the blob store"

    def _write(self, path: str, data: bytes) -> None:
        with self._fs.open(path, "wb") as file:
            file.write(data)
            if self._is_folder:
                file.flush()
                os.fsync(file.fileno())

    def _path(self, key: str) -> str:
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"{key!r} is no SHA-256 of 64 hex digits")
        return f"{self._root}/{key[:2]}/{key}"


def _sync_folder(path: str) -> None:
    """So that a new name in it is on the disk, too."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
