"""Image bytes, in a folder by default and in any store fsspec knows by URL (s3://..., gs://..., memory://)."""

import hashlib
import re
import time
import uuid
from contextlib import suppress
from pathlib import Path

from contract.errors import StoreUnavailable
from contract.filesystems import exists, is_local, is_s3, on_disk, open_url, os_errors, write_whole
from contract.passwords import without_passwords

_PARTIAL = ".partial"
_ABANDONED_SECONDS = 3_600.0
_KEY = re.compile("[0-9a-f]{64}")


def blob_key(data: bytes) -> str:
    """The key of some bytes: their SHA-256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


class BlobStore:
    """Content-addressed: the key of some bytes is their SHA-256, so a second write of the same picture is free.

    Calls block; an event loop uses a thread. Where a store does not answer, or takes nothing, they raise OSError.
    """

    def __init__(self, url: str, folder: str = "", named: str = "BLOB_URL") -> None:
        """In a folder of a URL, where one is given. `named`: what a message calls the URL.

        Raises StoreUnavailable where fsspec has no such protocol, the root cannot be made or there is no such bucket.
        """
        self._fs, root = open_url(url, named)
        self._root = f"{root}/{folder}" if folder else root
        self._is_folder, self._is_s3 = is_local(self._fs), is_s3(self._fs)
        if self._is_s3:
            return
        try:
            self._fs.makedirs(f"{self._root}/{_PARTIAL}", exist_ok=True)
        except OSError as error:
            shown, reason = without_passwords(url), without_passwords(str(error))
            raise StoreUnavailable(f"{named} {shown} cannot be used: {reason}") from None  # a log would show the cause

    def put(self, data: bytes) -> str:
        """Store bytes under their SHA-256 (64 hex digits), which is returned. No reader ever sees a part of them.

        In a folder they are on the disk when this returns. Where it fails, nothing is left.
        """
        key = blob_key(data)
        path = self._path(key)
        if not exists(self._fs, path):
            write_whole(self._fs, path, data, f"{self._root}/{_PARTIAL}/{uuid.uuid4().hex}")
            on_disk(self._fs, self._root)
        return key

    def get(self, key: str) -> bytes:
        """The bytes of a key. Raises FileNotFoundError."""
        with os_errors(self._fs):
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
        return exists(self._fs, self._path(key))

    def delete(self, key: str) -> None:
        """Remove the bytes of a key; a key that is not there changes nothing."""
        path = self._path(key)
        with os_errors(self._fs):
            if self._is_s3 or exists(self._fs, path):  # S3 does not mind
                self._fs.rm_file(path)

    def place(self, key: str) -> str:
        """Where the bytes of a key are, in words."""
        return f"image {key} of the blob store"

    def _path(self, key: str) -> str:
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"{key!r} is no SHA-256 of 64 hex digits")
        return f"{self._root}/{key[:2]}/{key}"


def _removed(part: Path, oldest: float) -> bool:
    """Whether an abandoned part was removed; one that its writer renames at this moment was not abandoned."""
    with suppress(FileNotFoundError):
        if part.stat().st_mtime < oldest:
            part.unlink()
            return True
    return False
