"""How long a request may take, whatever it waits for: a store that hangs, a slow sender."""

import asyncio
import logging
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TookTooLong
from service.guard import READS
from service.limits import BATCH_PATH
from service.problems import refusal_of

log = logging.getLogger(__name__)

READ_SECONDS = 10.0
WRITE_SECONDS = 30.0
BATCH_SECONDS = 300.0


class Deadline:
    """ASGI middleware: answers 503 in time, and ends what still goes on, without waiting for that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._ending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = late = False

        async def send_in_time(message: Message) -> None:
            nonlocal started
            if not late:
                started = True
                await send(message)

        task = asyncio.ensure_future(self._app(scope, receive, send_in_time))
        seconds = _seconds(scope)
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            self._end(task)
            raise
        if task.done():
            task.result()
            return
        late = True
        self._end(task)
        log.error("a request was ended after %g s", seconds)
        if not started:
            refused = TookTooLong(f"this took more than {seconds:g} s and may have been done or not: send it again")
            await refusal_of(refused).response()(scope, receive, send)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._ending.add(task)
        task.add_done_callback(self._ended)
        task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("what was ended failed: %r", error)


def _seconds(scope: Scope) -> float:
    if scope["method"] in READS:
        return READ_SECONDS
    return BATCH_SECONDS if scope["path"] == BATCH_PATH else WRITE_SECONDS
