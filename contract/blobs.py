"""Image bytes, in a folder by default and in any store fsspec knows by URL (s3://..., gs://..., memory://)."""

import hashlib
import os
import re
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from contract.errors import StoreUnavailable
from contract.passwords import without_passwords

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

    def __init__(self, url: str, folder: str = "", named: str = "BLOB_URL") -> None:
        """In a folder of a URL, where one is given. `named`: what a message calls the URL.

        Raises StoreUnavailable where fsspec has no such protocol or the root cannot be made.
        """
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
            self._root = f"{root}/{folder}" if folder else root
            self._is_folder = is_local(self._fs)
            self._fs.makedirs(f"{self._root}/{_PARTIAL}", exist_ok=True)
        except (ValueError, ImportError, OSError) as error:
            shown, reason = without_passwords(url), without_passwords(str(error))
            raise StoreUnavailable(f"{named} {shown} cannot be used: {reason}") from None  # a log would show the cause

    def put(self, data: bytes) -> str:
        """Store bytes under their SHA-256 (64 hex digits), which is returned. No reader ever sees a part of them.

        In a folder they are on the disk when this returns. Where it fails, nothing is left.
        """
        key = blob_key(data)
        path = self._path(key)
        if not self._fs.exists(path):
            self._fs.makedirs(self._fs._parent(path), exist_ok=True)
            write_whole(self._fs, path, data, f"{self._root}/{_PARTIAL}/{uuid.uuid4().hex}")
            on_disk(self._fs, self._root)
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
        return sum(_removed(part, oldest) for part in Path(self._root, _PARTIAL).iterdir())

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

    def _path(self, key: str) -> str:
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"{key!r} is no SHA-256 of 64 hex digits")
        return f"{self._root}/{key[:2]}/{key}"


def is_local(fs: Any) -> bool:
    """Whether a file system of fsspec's is this machine's own."""
    return isinstance(fs, LocalFileSystem)


def write_whole(fs: Any, path: str, data: bytes, partial: str) -> None:
    """Write a file under another name first: no reader sees a part of it, and where it fails, nothing is left.

    On a local file system it is on the disk when this returns.
    """
    try:
        with fs.open(partial, "wb") as file:
            file.write(data)
        on_disk(fs, partial)
        fs.mv(partial, path)
    except BaseException:
        with suppress(OSError):  # it may not have been made
            fs.rm_file(partial)
        raise
    on_disk(fs, fs._parent(path))


def on_disk(fs: Any, path: str) -> None:
    """Wait until a local file, or the names in a local folder, are on the disk; other systems do so by themselves."""
    if not is_local(fs):
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _removed(part: Path, oldest: float) -> bool:
    """Whether an abandoned part was removed; one that its writer renames at this moment was not abandoned."""
    with suppress(FileNotFoundError):
        if part.stat().st_mtime < oldest:
            part.unlink()
            return True
    return False
