"""The store of pictures, for an event loop: in threads of its own, so that one that hangs holds up nothing else."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from contract.blobs import BlobStore

A = TypeVar("A")
T = TypeVar("T")

_THREADS = 16
_CHANGES = 8
"""At a time: who changes something holds a connection to the database, of which a process has 15, and waits before."""


class Pictures:
    """Raises what a BlobStore does: FileNotFoundError, OSError."""

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs
        self.turn = asyncio.Semaphore(_CHANGES)
        """To be had before the transaction in which pictures are put or deleted."""
        self._threads = ThreadPoolExecutor(_THREADS, "pictures")

    async def put(self, data: bytes) -> str:
        """Store a picture; its key."""
        return await self._run(self.blobs.put, data)

    async def get(self, key: str) -> bytes:
        """Its bytes."""
        return await self._run(self.blobs.get, key)

    async def delete(self, key: str) -> None:
        """One that is not there changes nothing."""
        await self._run(self.blobs.delete, key)

    async def aclose(self) -> None:
        """Threads that hang are waited for by nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, call: Callable[[A], T], argument: A) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, argument)
