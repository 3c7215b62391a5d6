import asyncio
import re
from typing import Any, cast
from urllib.parse import urljoin

import pytest
from pydantic import SecretStr, ValidationError

from contract.environment import StoreSettings
from contract.errors import ContractError
from contract.tables import User
from service.api import health
from service.api.parts import Parts
from service.room import Rounds
from service.settings import Settings
from tests.integration.running import Service, png, problem, serving

pytestmark = pytest.mark.anyio


async def test_a_key_is_needed_where_one_is_set(trained: StoreSettings) -> None:
    async with serving(trained, api_key="secret", host="0.0.0.0") as service:
        ((user,), *_) = await service.sql(User.user_id)
        state = await service.state()
        url = f"/users/{user}/recommendations"
        for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic secret"}):
            answer = await service.client.get(url, headers=headers)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
            sent = {"data": {"author_id": user}, "files": {"image": ("picture", png())}, "headers": headers}
            problem(await service.client.post("/tweets", **cast(dict[str, Any], sent)), 401, "unauthorized")
        assert await service.state() == state
        assert (await service.client.get(url, headers={"authorization": "Bearer secret"})).status_code == 200
        for path in ("/health/live", "/health/ready"):
            assert (await service.client.get(path)).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
async def test_an_open_host_needs_a_key(trained: StoreSettings, host: str) -> None:
    with pytest.raises(ContractError, match="set API_KEY"):
        async with serving(trained, host=host):
            pytest.fail("it started")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert Settings(host=host, api_key=None).is_loopback


def test_an_empty_key_is_no_key() -> None:
    with pytest.raises(ValidationError):
        Settings(host="0.0.0.0", api_key=SecretStr(""))


async def test_it_is_alive_and_ready(service: Service) -> None:
    live, ready = await service.client.get("/health/live"), await service.client.get("/health/ready")
    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    version = await service.parts.ingest.vectors.active_version()
    expected = {"status": "ready", "model": version, "redis": "ok", "database": "ok", "device": "cpu"}
    assert (ready.status_code, ready.json()) == (200, expected)


async def test_many_who_ask_whether_it_is_ready_cost_as_much_as_a_few(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, at_a_time, most = 0, 0, 0

    async def counting(parts: Parts) -> str:
        nonlocal asked, at_a_time, most
        asked, at_a_time = asked + 1, at_a_time + 1
        most = max(most, at_a_time)
        await asyncio.sleep(0.2)
        at_a_time -= 1
        return await database_state(parts)

    database_state = health.database_state
    monkeypatch.setattr(health, "database_state", counting)
    answers = await asyncio.gather(*(service.client.get("/health/ready") for _ in range(300)))
    assert {(answer.status_code, answer.json()["database"]) for answer in answers} == {(200, "ok")}
    assert most == 1
    assert asked <= 10


async def test_who_asks_during_a_round_gets_what_the_next_one_finds() -> None:
    """What was true before one asked may not be any more."""
    gate, begun, finds = asyncio.Event(), 0, "old"

    async def work() -> str:
        nonlocal begun
        begun += 1
        found = finds
        await gate.wait()
        if found == "broken":
            raise ValueError(found)
        return found

    rounds = Rounds(work)
    first = asyncio.create_task(rounds.next())
    await asyncio.sleep(0.01)
    finds = "broken"
    later = [asyncio.create_task(rounds.next()) for _ in range(5)]
    await asyncio.sleep(0.01)
    later.pop().cancel()
    gate.set()
    assert await first == "old"
    found = await asyncio.gather(*later, return_exceptions=True)
    assert [type(error) for error in found] == [ValueError] * 4
    assert begun == 2
    finds = "new"
    assert await rounds.next() == "new"


async def test_a_round_that_nobody_waits_for_any_more_can_be_ended() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    rounds = Rounds(work)
    waits = asyncio.create_task(rounds.next())
    await asyncio.sleep(0.01)
    waits.cancel()
    await asyncio.sleep(0.01)
    assert not ended.is_set()
    await rounds.aclose()
    assert ended.is_set()


async def test_without_a_model_it_is_alive_but_not_ready(stores: StoreSettings) -> None:
    async with serving(stores) as service:
        assert (await service.client.get("/health/live")).status_code == 200
        ready = await service.client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        answer = await service.client.get("/users/nobody/recommendations")
        problem(answer, 503, "not-ready")
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_database_without_the_schema_stops_the_start(trained: StoreSettings) -> None:
    empty = trained.model_copy(update={"database_url": "sqlite://"})
    with pytest.raises(ContractError, match="alembic upgrade head"):
        async with serving(empty):
            pytest.fail("it started")


async def test_the_docs_come_from_us_alone(service: Service) -> None:
    page = await service.client.get("/docs")
    assert page.status_code == 200
    tags = re.findall(r"<(?:script|link|img)\b[^>]*>", page.text)
    links = [link for tag in tags for link in re.findall(r"(?:src|href)=[\"']([^\"']+)", tag)]
    assert len(links) >= 2
    for link in links:
        assert urljoin("http://service/docs", link).startswith("http://service/")
        asset = await service.client.get(link)
        assert (asset.status_code, len(asset.content) > 0) == (200, True)
    assert not re.findall(r"<script[^>]+https?://", page.text)
    assert (await service.client.get("/openapi.json")).json()["paths"].keys() >= {"/tweets", "/health/live"}


@pytest.mark.parametrize("path", ["/nowhere", "/users/x/y", "/tweets/x/y"])
async def test_an_unknown_path_is_not_found(service: Service, path: str) -> None:
    problem(await service.client.get(path), 404, "not-found")


async def test_a_wrong_method_is_refused(service: Service) -> None:
    answer = await service.client.delete("/tweets")
    problem(answer, 405, "method-not-allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
