"""The store of pictures, for an event loop: in threads of its own, so that one that hangs holds up nothing else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from contract.blobs import BlobStore
from contract.tasks import Tasks

A = TypeVar("A")
T = TypeVar("T")

_THREADS = 16
"""For reads, and as many for changes, which must not wait for reads that hang."""
_CHANGES = 8
"""At a time: who changes something holds a connection to the database, of which a process has 15, and waits before."""
_TURN_SECONDS = 5.0
"""With the time of a call (contract/filesystems.py) less than a change may take."""


class Pictures:
    """Raises what a BlobStore does: FileNotFoundError, OSError."""

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs
        self.failing = False
        """Whether the last change failed, or goes on for long already."""
        self.removals = Tasks()
        """Which go on though nobody waits for them any more."""
        self._turns = asyncio.Semaphore(_CHANGES)
        self._reading = ThreadPoolExecutor(_THREADS, "pictures-read")
        self._changing = ThreadPoolExecutor(_THREADS, "pictures-changed")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """To be had before the transaction in which pictures are put or deleted.

        Raises OSError where those who have one go on for long.
        """
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError as error:
            raise OSError(f"{_CHANGES} pictures are being put or deleted, for {_TURN_SECONDS:g} s already") from error
        try:
            yield
        finally:
            self._turns.release()

    async def put(self, data: bytes) -> str:
        """Store a picture; its key."""
        return await self._change(self.blobs.put, data)

    async def get(self, key: str) -> bytes:
        """Its bytes."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, self.blobs.get, key)

    async def delete(self, key: str) -> None:
        """One that is not there changes nothing."""
        await self._change(self.blobs.delete, key)

    async def aclose(self) -> None:
        """Removals are waited for, as long as a call takes; other threads that hang are not."""
        await self.removals.aclose()
        for threads in (self._reading, self._changing):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _change(self, call: Callable[[A], T], argument: A) -> T:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._changing, call, argument)
        except OSError:
            self.failing = True
            raise
        self.failing = False
        return result
