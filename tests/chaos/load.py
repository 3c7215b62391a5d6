"""Clients at full speed, and a ledger of what the service acknowledged to them."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from tests.integration.running import png

RETRY_SECONDS = 0.05
REFUSED = (429, 503)
Stage = Literal["posted", "retweeted", "unretweeting", "unretweeted", "deleting", "deleted", "leaving", "left"]
USERS = [f"u{n:04}" for n in range(1, 61)]


@dataclass
class Unit:
    """What one writer does in a row; each part once it was acknowledged."""

    name: str
    tweet_id: str | None = None
    follows: bool = False
    stage: Stage = "posted"
    """How far the tweet came; what is under way was done or not."""

    @property
    def author(self) -> str:
        return f"{self.name}-author"

    @property
    def reader(self) -> str:
        """Follows the author, and retweets."""
        return f"{self.name}-reader"

    @property
    def fan(self) -> str:
        """Follows the reader."""
        return f"{self.name}-fan"

    @property
    def text(self) -> str:
        """No other tweet's."""
        return f"By {self.author}. #chaos"


@dataclass
class Ledger:
    """What came of all requests."""

    units: list[Unit] = field(default_factory=list)
    acknowledged: int = 0
    reads: Counter[str] = field(default_factory=Counter)
    """Of reads while the fault lasts: answered, degraded, refused, failed."""
    writes: Counter[str] = field(default_factory=Counter)
    """The same of writes."""
    shown: set[str] = field(default_factory=set)
    """Tweets that some answer had."""
    wrong: list[str] = field(default_factory=list)
    """Answers that no fault excuses."""
    broken: list[str] = field(default_factory=list)
    """Requests whose connection ended before an answer; not those that were never taken."""
    at_fault: bool = False
    slowest_read: float = 0.0


class Load:
    """Writers and readers on one service, wherever it is at the moment; reads may go to another one."""

    def __init__(self, url: str, ledger: Ledger, name: str, read_from: str | None = None) -> None:
        self._ledger, self.name = ledger, name
        self._numbers: Iterator[int] = itertools.count()
        self._client = httpx.AsyncClient(base_url=url, timeout=40)
        self._reads_from = read_from or url
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, writers: int, readers: int, balanced: bool = False) -> None:
        self._tasks = [asyncio.create_task(self.balance())] if balanced else []
        self._tasks += [asyncio.create_task(self._write()) for _ in range(writers)]
        self._tasks += [asyncio.create_task(self._read(n)) for n in range(readers)]

    async def balance(self) -> None:
        """As a balancer does: while the service is not ready, ask nothing of it."""
        async with httpx.AsyncClient(base_url=str(self._client.base_url)) as client:
            while True:
                try:
                    ready = (await client.get("/health/ready")).status_code == 200
                except httpx.TransportError:
                    ready = False
                self._wanted.set() if ready else self._wanted.clear()
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """What is under way is neither acknowledged nor refused."""
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._ledger.wrong += [repr(end) for end in ended if not isinstance(end, asyncio.CancelledError)]
        await self._client.aclose()

    async def _write(self) -> None:
        while True:
            number = next(self._numbers)
            unit = Unit(f"{self.name}-{number}")
            self._ledger.units.append(unit)
            for user in (unit.author, unit.reader, unit.fan):
                await self._until_done("POST", "/users", json={"user_id": user})
            await self._until_done("PUT", f"/users/{unit.reader}/followees/{unit.author}")
            await self._until_done("PUT", f"/users/{unit.fan}/followees/{unit.reader}")
            unit.follows = True
            posted = await self._until_done(
                "POST",
                "/tweets",
                data={"author_id": unit.author, "text": unit.text},
                files={"image": png("teal", (30 + number % 60, 40))},
                headers={"Idempotency-Key": unit.name},
            )
            unit.tweet_id = posted["tweet_id"]
            await self._until_done("PUT", f"/users/{unit.reader}/retweets/{unit.tweet_id}")
            unit.stage = "retweeted"
            if posted["status"] == "ready":
                await self._next_answer_has(unit)
            if number % 4 == 1:
                unit.stage = "unretweeting"
                await self._until_done("DELETE", f"/users/{unit.reader}/retweets/{unit.tweet_id}")
                unit.stage = "unretweeted"
            elif number % 4 == 2:
                unit.stage = "deleting"
                await self._until_done("DELETE", f"/tweets/{unit.tweet_id}")
                unit.stage = "deleted"
            elif number % 4 == 3:
                unit.stage = "leaving"
                await self._until_done("DELETE", f"/users/{unit.author}")
                unit.stage = "left"

    async def _next_answer_has(self, unit: Unit) -> None:
        """What was acknowledged is known to the very next answer, unless that says that it may not be."""
        url = f"{self._reads_from}/users/{unit.fan}/recommendations?k=100"
        body = await self._ask("GET", url, self._ledger.reads)
        if body is None or "online_network" in body["missing"]:
            return
        if unit.tweet_id not in {item["tweet_id"] for item in body["items"]}:
            self._ledger.wrong.append(f"{unit.tweet_id}, acknowledged, is not in the next answer to {unit.fan}")

    async def _until_done(self, method: str, url: str, **more: Any) -> Any:
        """As a client does who retries: the same request until it is acknowledged."""
        while True:
            answer = await self._ask(method, url, self._ledger.writes, **more)
            if answer is not None:
                self._ledger.acknowledged += 1
                return answer
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, first: int) -> None:
        for n in itertools.count(first):
            asked = time.monotonic()
            url = f"{self._reads_from}/users/{self._somebody(n)}/recommendations"
            body = await self._ask("GET", url, self._ledger.reads)
            if body is None:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if self._ledger.at_fault:
                self._ledger.slowest_read = max(self._ledger.slowest_read, time.monotonic() - asked)
                self._ledger.reads["degraded"] += "online_network" in body["missing"]
            self._ledger.shown.update(item["tweet_id"] for item in body["items"])
            await asyncio.sleep(0.005)

    def _somebody(self, n: int) -> str:
        """One of the network, or one whom a writer made lately."""
        made = [unit.fan for unit in self._ledger.units[-20:] if unit.follows]
        return made[n % len(made)] if made and n % 2 else USERS[n * 7 % len(USERS)]

    async def _ask(self, method: str, url: str, counts: Counter[str], **more: Any) -> Any:
        await self._wanted.wait()
        try:
            answer = await self._client.request(method, url, **more)
        except httpx.TransportError as error:
            counts["failed"] += self._ledger.at_fault
            if not isinstance(error, httpx.ConnectError):
                self._ledger.broken.append(f"{method} {url}: {error!r}")
            return None
        if answer.status_code in REFUSED:
            counts["refused"] += self._ledger.at_fault
            if "retry-after" not in answer.headers:
                self._ledger.wrong.append(f"{method} {url}: {answer.status_code} without Retry-After")
            return None
        if answer.status_code not in (200, 201, 202, 204):
            self._ledger.wrong.append(f"{method} {url}: {answer.status_code} {answer.text[:200]}")
            return None
        counts["answered"] += self._ledger.at_fault
        return answer.json() if answer.content else {}
