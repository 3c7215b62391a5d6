"""Ending background tasks."""

import asyncio
from typing import Any

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
