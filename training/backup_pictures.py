"""Pictures from one store to another, for backup and restore."""

import asyncio
from collections.abc import AsyncIterator, Collection

from contract.blobs import BlobStore, blob_key
from contract.parts import in_parts
from contract.progress import Progress

_AT_A_TIME = 16


async def copy_or_miss(
    keys: Collection[str], source: BlobStore, target: BlobStore, progress: Progress, what: str
) -> AsyncIterator[str]:
    """Copy the pictures that are not there yet; yields the keys of those that are missing or damaged."""
    parts = in_parts(sorted(keys), _AT_A_TIME)
    for part in progress(parts, len(parts), f"{what} pictures ({_AT_A_TIME} at a time)"):
        copied = await asyncio.gather(*(asyncio.to_thread(copy_picture, key, source, target) for key in part))
        for key, there in zip(part, copied, strict=True):
            if not there:
                yield key


def copy_picture(key: str, source: BlobStore, target: BlobStore) -> bool:
    """Whether it is there, as its key says; a damaged one in the target is replaced."""
    there = found(key, target)
    if there is not None and blob_key(there) == key:
        return True
    data = found(key, source)
    if data is None or blob_key(data) != key:
        return False
    if there is not None:
        target.delete(key)
    return target.put(data) == key


def found(key: str, blobs: BlobStore) -> bytes | None:
    """The bytes of a picture, which may be damaged; None where it is missing."""
    try:
        return blobs.get(key)
    except FileNotFoundError:
        return None
