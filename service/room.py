"""Who asks, and how what the service has is shared by those who do."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Generic, TypeVar

from contract.tasks import Tasks

T = TypeVar("T")

REFUSALS_PER_SECOND = 1_000
"""More of them wait for a moment: else refusing who asks again at once takes the time that answering needs."""
LONGEST_SECONDS = 1.0
_UNNOTICED_SECONDS = 0.02

caller: ContextVar[str] = ContextVar("caller", default="")
"""Of the request at hand: the id of its key; empty for that of the environment and where none is needed."""


class Room:
    """Places shared by keys. One key that floods leaves a quarter of them, n keys leave one in 3n + 1."""

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many places."""
        return self._most - self._free

    def has_place(self, who: str) -> bool:
        """Whether one more request of a caller may come in."""
        return self._free > 0 and self._held[who] < 3 * self._free

    def enter(self, who: str) -> None:
        """Take a place."""
        self._free -= 1
        self._held[who] += 1

    def leave(self, who: str) -> None:
        """Give it back."""
        self._free += 1
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]


class Pacer:
    """Spreads refusals out, whoever is refused, by at most a second each."""

    def __init__(self) -> None:
        self._next = 0.0

    async def pace(self) -> None:
        """Wait for one's turn."""
        now = time.monotonic()
        self._next = min(max(self._next, now) + 1 / REFUSALS_PER_SECOND, now + LONGEST_SECONDS)
        if (wait_seconds := self._next - now) > _UNNOTICED_SECONDS:
            await asyncio.sleep(wait_seconds)


class Rounds(Generic[T]):
    """Work done once for all who wait for it, one round at a time. Who comes during a round waits for the next one."""

    def __init__(self, work: Callable[[], Awaitable[T]], apart_seconds: float = 0.0) -> None:
        """`apart_seconds`: from the beginning of a round to that of the next, at least."""
        self._work, self._apart_seconds = work, apart_seconds
        self._began = 0.0
        self._turn = asyncio.Lock()
        self._to_come: asyncio.Task[T] | None = None
        self._rounds = Tasks()

    async def next(self) -> T:
        """What the next round finds. Raises what the work raises."""
        if self._to_come is None:
            self._to_come = self._rounds.start(self._round())
        return await asyncio.shield(self._to_come)

    async def aclose(self) -> None:
        """End rounds that go on though nobody waits for them any more."""
        await self._rounds.aclose()

    async def _round(self) -> T:
        async with self._turn:
            await asyncio.sleep(self._began + self._apart_seconds - time.monotonic())
            self._to_come, self._began = None, time.monotonic()
            return await self._work()
