"""What may be in work at a time, how often a key may ask, and what browsers and collectors are told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from sqlalchemy import delete

from contract.environment import StoreSettings
from contract.tables import ApiKey, create_engine
from service import ingest
from service.errors import RateLimited
from service.keys import Keys, create_key
from service.problems import refusal_of
from service.room import LONGEST_SECONDS, REFUSALS_PER_SECOND, Pacer, Room
from tests.integration.running import Service, png, problem, serving, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def held(service: Service, method: str, path: str) -> AsyncIterator[None]:
    """A request whose body never ends, until the block does."""
    begun, ends = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"user_id": '
        begun.set()
        await ends.wait()
        yield b'"held-request"}'

    async def send() -> httpx.Response:
        return await service.client.request(method, path, content=body(), headers={"content-type": "application/json"})

    request = asyncio.create_task(send())
    await begun.wait()
    try:
        yield
    finally:
        ends.set()
        await request


async def test_a_flood_of_writes_leaves_room_for_reads(trained: StoreSettings) -> None:
    async with serving(trained, max_writes=2, max_reads=5) as service:
        async with held(service, "POST", "/users"), held(service, "POST", "/users"):
            refused = await service.client.put("/users/u0001/followees/u0002")
            problem(refused, 429, "overloaded")
            assert refused.headers["retry-after"] == "1"
            assert (await service.client.get("/users/u0001/recommendations")).status_code == 200
        assert (await service.client.delete("/tweets/nothing")).status_code != 429


async def test_a_flood_of_reads_is_shed_and_health_answers(
    trained: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(trained, max_reads=3) as service:
        gate = asyncio.Event()
        network = service.parts.online.network
        view = network.view

        async def slow(*arguments: object) -> object:
            await gate.wait()
            return await view(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(network, "view", slow)
        asked = [asyncio.create_task(service.client.get("/users/u0001/recommendations")) for _ in range(10)]

        async def seven_are_shed() -> bool:
            return 'requests_shed_total{limit="reads"} 7.0' in (await service.client.get("/metrics")).text

        await until(seven_are_shed, 20)
        for path in ("/health/ready", "/ops/state"):
            assert (await service.client.get(path)).status_code == 200
        gate.set()
        statuses = sorted(answer.status_code for answer in await asyncio.gather(*asked))
        assert statuses == [200] * 3 + [429] * 7
        assert (await service.client.get("/users/u0001/recommendations")).status_code == 200


@pytest.mark.parametrize("kind", ["heavy", "light"])
async def test_a_key_that_floods_leaves_room_for_others(
    trained: StoreSettings, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    engine = create_engine(trained.sqlalchemy_url)
    try:
        keys = {name: {"authorization": f"Bearer {await create_key(engine, name, ['read'])}"} for name in "ab"}
        async with serving(trained, max_reads=8, host="0.0.0.0") as service:
            gate, view = asyncio.Event(), service.parts.online.network.view

            async def slow(*arguments: object) -> object:
                await gate.wait()
                return await view(*arguments)  # type: ignore[arg-type]

            monkeypatch.setattr(service.parts.online.network, "view", slow)

            def ask(key: str) -> asyncio.Task[httpx.Response]:
                url = "/users/u0001/recommendations"
                return asyncio.create_task(service.client.get(url, headers=keys[key]))

            flood = [ask("a") for _ in range(20)]
            await until(lambda: shed(service, 14), 20)
            others = [ask("b") for _ in range(2 if kind == "light" else 10)]
            await until(lambda: shed(service, 14 if kind == "light" else 22), 20)
            gate.set()
            answered = [[one.status_code for one in await asyncio.gather(*asked)] for asked in (flood, others)]
            assert [statuses.count(200) for statuses in answered] == [6, 2]
    finally:
        async with engine.begin() as connection:
            await connection.execute(delete(ApiKey))
        await engine.dispose()


async def shed(service: Service, number: int, limit: str = "reads") -> bool:
    return bool(service.parts.metrics.shed.labels(limit)._value.get() == number)


@pytest.mark.parametrize("callers", [2, 3])
def test_room_is_shared_by_who_asks(callers: int) -> None:
    """All flood at once, whoever came first: each comes to its share as places get free."""
    room, held = Room(12), Counter[int]()
    for turn in range(200):
        for caller in range(callers):
            while room.has_place(str(caller)):
                room.enter(str(caller))
                held[caller] += 1
        assert sum(held.values()) <= 12
        first = max(held, key=lambda caller: (held[caller], turn % 2 * caller))
        room.leave(str(first))
        held[first] -= 1
    assert min(held[caller] for caller in range(callers)) >= 12 // callers - 1


def test_who_comes_later_finds_a_place_beside_two_that_flood() -> None:
    room, held = Room(64), Counter[str]()
    for turn in range(1_000):
        for flooder in "ab":
            while room.has_place(flooder):
                room.enter(flooder)
                held[flooder] += 1
        assert room.has_place("c")
        room.enter("c")
        ends = "ab"[turn % 2]
        room.leave(ends)
        held[ends] -= 1
        room.leave("c")
    assert min(held.values()) > 0


@asynccontextmanager
async def new_keys(
    stores: StoreSettings, names: str, scope: str, per_minute: int | None = None
) -> AsyncIterator[list[dict[str, str]]]:
    """The headers of keys, which are gone afterwards: other tests ask without one."""
    engine = create_engine(stores.sqlalchemy_url)
    try:
        keys = [await create_key(engine, name, [scope], per_minute) for name in names]
        yield [{"authorization": f"Bearer {key}"} for key in keys]
    finally:
        async with engine.begin() as connection:
            await connection.execute(delete(ApiKey))
        await engine.dispose()


async def test_a_key_that_floods_with_tweets_leaves_room_for_others(
    trained: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, check_author = asyncio.Event(), ingest.check_author

    async def slow(*arguments: object) -> None:
        await gate.wait()
        await check_author(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ingest, "check_author", slow)
    async with (
        new_keys(trained, "ab", "write") as (heavy, light),
        serving(trained, queue_size=8, host="0.0.0.0") as service,
    ):

        def post(key: dict[str, str]) -> asyncio.Task[httpx.Response]:
            sent = {"data": {"author_id": "u0001"}, "files": {"image": ("picture", png())}, "headers": key}
            return asyncio.create_task(service.client.post("/tweets", **sent))  # type: ignore[arg-type]

        flood = [post(heavy) for _ in range(10)]
        await until(lambda: shed(service, 4, "tweets"), 20)
        other = post(light)
        await asyncio.sleep(0.2)
        gate.set()
        assert sorted([answer.status_code for answer in await asyncio.gather(*flood)]) == [201] * 6 + [429] * 4
        assert (await other).status_code == 201


async def test_refusals_are_paced_without_a_debt() -> None:
    pacer, started = Pacer(), asyncio.get_running_loop().time()
    await asyncio.gather(*(pacer.pace() for _ in range(3 * REFUSALS_PER_SECOND)))
    assert asyncio.get_running_loop().time() - started < 1.5 * LONGEST_SECONDS
    started = asyncio.get_running_loop().time()
    await pacer.pace()
    assert asyncio.get_running_loop().time() - started < 0.5


@pytest.mark.parametrize(
    ("refused", "expected"),
    [("without a key", [401] * 3), ("without the scope", [403] * 3), ("too often", [200, 429, 429])],
)
async def test_what_the_guard_refuses_is_paced(
    trained: StoreSettings, monkeypatch: pytest.MonkeyPatch, refused: str, expected: list[int]
) -> None:
    paced = 0

    async def count(_: Pacer) -> None:
        nonlocal paced
        paced += 1

    monkeypatch.setattr(Pacer, "pace", count)
    async with (
        new_keys(trained, "a", "read", per_minute=1) as (key,),
        serving(trained, host="0.0.0.0") as service,
    ):
        headers = {} if refused == "without a key" else key
        method = "POST" if refused == "without the scope" else "GET"
        statuses = [(await service.client.request(method, "/models", headers=headers)).status_code for _ in "123"]
    assert statuses == expected
    assert paced == len(statuses) - statuses.count(200)


async def test_a_key_that_was_refused_asks_redis_no_more_for_a_second(
    trained: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, hit = 0, SlidingWindowCounterRateLimiter.hit

    async def counting(*arguments: Any) -> bool:
        nonlocal asked
        asked += 1
        return await hit(*arguments)

    monkeypatch.setattr(SlidingWindowCounterRateLimiter, "hit", counting)
    async with (
        new_keys(trained, "a", "read", per_minute=2) as (key,),
        serving(trained, host="0.0.0.0") as service,
    ):
        answers = [await service.client.get("/models", headers=key) for _ in range(12)]
        assert [answer.status_code for answer in answers] == [200] * 2 + [429] * 10
        assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in answers[2:])
        assert asked == 3
        assert await shed(service, 10, "rate")
        await asyncio.sleep(1.05)
        await service.client.get("/models", headers=key)
        assert asked == 4


async def test_a_key_s_rate_counts_over_all_processes(trained: StoreSettings) -> None:
    engine = create_engine(trained.sqlalchemy_url)
    limited, other = (
        await create_key(engine, "limited", ["read"], per_minute=5),
        await create_key(engine, "b", ["read"]),
    )
    try:
        async with serving(trained) as first, serving(trained) as second:

            async def ask(service: Service, key: str) -> httpx.Response:
                headers = {"authorization": f"Bearer {key}"}
                return await service.client.get("/users/u0001/recommendations", headers=headers)

            answers = [await ask(service, limited) for service in (first, second, first, second, first, second)]
            assert [answer.status_code for answer in answers] == [200] * 5 + [429]
            problem(answers[-1], 429, "rate-limited")
            assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
            assert [(await ask(service, other)).status_code for service in (first, second) * 4] == [200] * 8
            pattern = first.parts.ingest.graph._home.key("rate*")
            ttls = [await first.redis.ttl(key) async for key in first.redis.scan_iter(pattern)]
            assert ttls
            assert all(0 < ttl <= 120 for ttl in ttls)
    finally:
        async with engine.begin() as connection:
            await connection.execute(delete(ApiKey))
        await engine.dispose()


def test_a_client_is_told_when_it_may_ask_again() -> None:
    assert refusal_of(RateLimited("too often", 7)).headers == {"Retry-After": "7"}


async def test_browsers_are_told_to_be_careful(service: Service) -> None:
    page = await service.client.get("/docs")
    assert page.status_code == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    for answer in (page, await service.client.get("/health/live"), await service.post(png(), author_id="nobody")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    elsewhere = {"origin": "https://elsewhere.example"}
    allowed = await service.client.get("/health/live", headers=elsewhere)
    assert "access-control-allow-origin" not in allowed.headers
    problem(await service.client.post("/models:rollback", headers=elsewhere), 403, "forbidden")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1"}, 200),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:9000"}, 403),
        ({"host": "rebound.example:8000", "origin": "http://rebound.example:8000"}, 403),
        ({"host": "rebound.example:8000"}, 403),
        ({"host": "127.0.0.1.rebound.example"}, 403),
        ({"origin": "http://["}, 403),
        ({"host": "["}, 403),
        ({"host": ""}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"forwarded": "for=203.0.113.9"}, 403),
        ({"x-forwarded-for": "203.0.113.9"}, 403),
        ({"x-forwarded-host": "rebound.example"}, 403),
        ({"x-real-ip": "203.0.113.9"}, 403),
        ({"via": "1.1 proxy"}, 403),
    ],
)
async def test_without_a_key_pages_of_this_machine_alone_may_ask(
    service: Service, headers: dict[str, str], status: int
) -> None:
    """Also where a name of another's points to this machine, or a proxy on it passes on what comes."""
    answer = await service.client.get("/models", headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert "keys create" in problem(answer, 403, "forbidden")["detail"]


async def test_errors_of_the_service_have_the_same_headers(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Keys, "check", fails)
    answer = await service.client.get("/models")
    problem(answer, 500, "internal-error")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "sandbox" in answer.headers["content-security-policy"]
