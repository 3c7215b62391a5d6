"""Ending background tasks, and waiting for threads."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_PATIENCE_SECONDS = 0.5
"""A rollback may take long on a busy machine; one that is cancelled leaves its locks to the garbage collector."""


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they are done.

    Once is not enough: a cancellation that meets a client's own time limit can be swallowed there (seen with redis-py
    under load), and the task would go on for ever.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_PATIENCE_SECONDS)


class Tasks:
    """Tasks that go on whether somebody waits for them or not, until they are ended together."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin one."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def aclose(self) -> None:
        """End those that are not done."""
        await end(*self._running)


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Wait for the end of some work even where the caller is cancelled: a thread goes on anyway, a mark is to go."""
    task = asyncio.create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    return task.result()
