"""How many requests are in work at a time, reads and writes apart, so that a flood of one leaves room for the other."""

import asyncio
import time
from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Overloaded
from service.guard import READS, is_guarded
from service.metrics import Metrics
from service.problems import refusal_of

REFUSALS_PER_SECOND = 1_000
"""More of them wait for a moment: else refusing who asks again at once takes the time that answering needs."""
_UNNOTICED_SECONDS = 0.02
_LONGEST_SECONDS = 1.0


class Room:
    """Of one kind of requests, shared by keys: one that floods leaves a quarter of it, and half when others ask."""

    def __init__(self, most: int) -> None:
        self._most, self._free = most, most
        self._held: Counter[str] = Counter()

    def has_place(self, caller: str) -> bool:
        """Whether one more request of a caller may come in."""
        share = self._most - self._most // 4
        if self._free <= self._most // 2:
            share = min(share, max(1, self._most // len({*self._held, caller})))
        return self._free > 0 and self._held[caller] < share

    def enter(self, caller: str) -> None:
        """Take a place."""
        self._free -= 1
        self._held[caller] += 1

    def leave(self, caller: str) -> None:
        """Give it back."""
        self._free += 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]


class Admission:
    """ASGI middleware: answers 429 where as many are in work as may be. Health and metrics always answer."""

    def __init__(self, app: ASGIApp, most_reads: int, most_writes: int, metrics: Metrics) -> None:
        self._app = app
        self._rooms = {"reads": Room(most_reads), "writes": Room(most_writes)}
        self._metrics = metrics
        self._next_refusal = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if there is room."""
        if scope["type"] != "http" or not is_guarded(scope["path"]) or scope["path"] == "/metrics":
            await self._app(scope, receive, send)
            return
        kind = "reads" if scope["method"] in READS else "writes"
        room, caller = self._rooms[kind], scope["caller"]
        if not room.has_place(caller):
            self._metrics.shed.labels(kind).inc()
            await self._pace()
            refused = Overloaded(f"as many {kind} are in work as the service takes: try again in a second")
            await refusal_of(refused).response()(scope, receive, send)
            return
        room.enter(caller)
        try:
            await self._app(scope, receive, send)
        finally:
            room.leave(caller)

    async def _pace(self) -> None:
        now = time.monotonic()
        self._next_refusal = max(self._next_refusal, now) + 1 / REFUSALS_PER_SECOND
        if (wait_seconds := self._next_refusal - now) > _UNNOTICED_SECONDS:
            await asyncio.sleep(min(wait_seconds, _LONGEST_SECONDS))
