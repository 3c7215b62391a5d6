"""What may be in work at a time, how often a key may ask, and what browsers and collectors are told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import delete

from contract.environment import StoreSettings
from contract.tables import ApiKey, create_engine
from service.admission import Room
from service.errors import RateLimited
from service.keys import Keys, create_key
from service.problems import refusal_of
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
        assert (await service.client.get("/health/ready")).status_code == 200
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


async def shed(service: Service, reads: int) -> bool:
    return bool(service.parts.metrics.shed.labels("reads")._value.get() == reads)


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
    assert min(held.values()) >= 12 // callers - 1


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
            ttls = [
                await first.parts.ingest.graph._redis.ttl(key)
                async for key in first.parts.ingest.graph._redis.scan_iter(f"{trained.redis_namespace}:rate*")
            ]
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
    ],
)
async def test_without_a_key_pages_of_this_machine_alone_may_ask(
    service: Service, headers: dict[str, str], status: int
) -> None:
    """Also where a name of another's points to this machine."""
    answer = await service.client.get("/models", headers=headers)
    assert answer.status_code == status
    if status != 200:
        problem(answer, 403, "forbidden")


async def test_errors_of_the_service_have_the_same_headers(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Keys, "check", fails)
    answer = await service.client.get("/models")
    problem(answer, 500, "internal-error")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "sandbox" in answer.headers["content-security-policy"]
