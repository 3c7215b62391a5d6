"""Clients that do all that users and operators do, and take back what they did: what grows is the service's."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Sized
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.integration.running import png

USERS = [f"u{n:04}" for n in range(1, 61)]
TWEETS, NEWCOMERS, EDGES = 1_500, 100, 500
"""How many of their own are there at a time, each client kind for itself: more than the newest 1,000 that are kept."""
OK, THERE, PUT, POSTED, GONE = {200}, {200, 404}, {200, 201}, {201, 202}, {204}
"""What may be answered. THERE: another client may have deleted it just now."""
SIMILAR = THERE | {503}
"""It has no vector any more at the moment of its deletion, and none yet at that of its posting."""


@dataclass
class Came:
    """Of the requests since the last look."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Clients:
    """Some at a time, each without a pause."""

    def __init__(self, url: str, seed: int) -> None:
        self.came = Came()
        self._client = httpx.AsyncClient(base_url=url, timeout=30)
        self._random = random.Random(seed)
        self._tweets: deque[tuple[str, str]] = deque()
        self._newcomers: deque[str] = deque()
        self._edges: deque[str] = deque()
        self._number = 0

    async def run(self, seconds: float) -> None:
        """All kinds, until it is over."""
        await self.post()
        kinds = [self.read, self.read, self.post, self.post, self.change, self.come_and_go, self.err]
        tasks = [asyncio.create_task(self._on_and_on(kind)) for kind in kinds]
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()
        for end in ended:
            if not isinstance(end, asyncio.CancelledError):
                raise RuntimeError("a client ended") from (end if isinstance(end, BaseException) else None)

    def not_full(self) -> list[str]:
        """What they had too few of in the end: nothing was taken back, so that nothing was tried."""
        held: dict[str, tuple[Sized, int]] = {
            "tweets": (self._tweets, TWEETS),
            "newcomers": (self._newcomers, NEWCOMERS),
            "edges": (self._edges, EDGES),
        }
        return [
            f"the clients had {len(own)} {name} of their own in the end, not {full}: give more --minutes"
            for name, (own, full) in held.items()
            if len(own) < full
        ]

    async def read(self) -> None:
        """Recommendations of every kind, pages of them, and what they show."""
        user = self._random.choice([*USERS, *self._newcomers])
        url, expected = f"/users/{user}/recommendations", OK if user in USERS else THERE
        scope = self._random.choice(["followees", "discover"])
        explain = str(self._random.random() < 0.2).lower()
        page = await self._ask("GET", url, expected, params={"k": 3, "scope": scope, "explain": explain})
        if page.get("next_cursor"):
            more = {"k": 3, "scope": scope, "cursor": page["next_cursor"]}
            await self._ask("GET", url, expected, params=more)
        for item in page.get("items", [])[:1]:
            await self._ask("GET", f"/tweets/{item['tweet_id']}/image", THERE)
            await self._ask("GET", f"/tweets/{item['tweet_id']}/similar", SIMILAR)

    async def post(self) -> None:
        """A tweet, and the oldest one goes."""
        self._number += 1
        size = (20 + self._number % 200, 20 + self._number // 200 % 200)
        form = {"author_id": self._random.choice(USERS), "text": f"Number {self._number}. #soak"}
        posted = await self._ask("POST", "/tweets", POSTED, data=form, files={"image": png("teal", size)})
        self._tweets.append((posted["tweet_id"], form["author_id"]))
        if len(self._tweets) > TWEETS:
            await self._ask("DELETE", f"/tweets/{self._tweets.popleft()[0]}", GONE)

    async def change(self) -> None:
        """A follow, a retweet, a hidden tweet; the oldest one is taken back, whose tweet may be gone."""
        tweet, author = self._some_tweet()
        user, other = self._random.sample([user for user in USERS if user != author], 2)
        kind = self._random.choice(["followees", "retweets", "hidden"])
        url = f"/users/{user}/{kind}/{other if kind == 'followees' else tweet}"
        await self._ask("PUT", url, PUT)
        self._edges.append(url)
        if len(self._edges) > EDGES:
            await self._ask("DELETE", self._edges.popleft(), GONE | {404})

    async def come_and_go(self) -> None:
        """A new user who follows, retweets and posts, and is folded in; the oldest of them is deleted."""
        user = (await self._ask("POST", "/users", PUT, json={}))["user_id"]
        await self._ask("PUT", f"/users/{user}/followees/{self._random.choice(USERS)}", PUT)
        await self._ask("PUT", f"/users/{self._random.choice(USERS)}/followees/{user}", PUT)
        await self._ask("PUT", f"/users/{user}/retweets/{self._some_tweet()[0]}", PUT)
        form = {"author_id": user, "text": "I am new. #soak"}
        await self._ask("POST", "/tweets", POSTED, data=form, files={"image": png("gold", (33, 44))})
        await self._ask("GET", f"/users/{user}/recommendations", OK)
        self._newcomers.append(user)
        if len(self._newcomers) > NEWCOMERS:
            await self._ask("DELETE", f"/users/{self._newcomers.popleft()}", GONE | {202})

    async def err(self) -> None:
        """What clients get wrong, and what operators look at."""
        nobody = f"nobody-{self._random.random():.9f}".replace(".", "-")
        await self._ask("GET", f"/users/{nobody}/recommendations", {404})
        await self._ask("POST", "/tweets", {422}, data={"author_id": "u0001"}, files={"image": b"no picture"})
        with suppress(httpx.TransportError):  # the answer may come, and the connection end, before all of it is sent
            much, form = b"x" * 12_000_000, {"content-type": "multipart/form-data"}
            await self._ask("POST", "/tweets", {413}, content=much, headers=form)
        await self._ask("GET", "/metrics", OK)
        await self._ask("GET", "/health/ready", OK)
        await asyncio.sleep(0.2)

    def _some_tweet(self) -> tuple[str, str]:
        """With its author; too new to be deleted soon."""
        return self._random.choice(list(self._tweets)[-200:])

    async def _on_and_on(self, kind: Callable[[], Awaitable[None]]) -> None:
        while True:
            await kind()

    async def _ask(self, method: str, url: str, expected: Collection[int], **more: Any) -> Any:
        started = asyncio.get_running_loop().time()
        answer = await self._client.request(method, url, **more)
        self.came.seconds.append(asyncio.get_running_loop().time() - started)
        self.came.statuses[answer.status_code] += 1
        if answer.status_code not in expected:
            self.came.failed.append(f"{method} {url}: {answer.status_code} {answer.text[:200]}")
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return answer.json() if is_json and answer.content else {}
