"""Bearer keys with scopes, made and revoked by the command line while the service runs."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.environment import StoreSettings
from contract.tables import ApiKey, create_engine
from service import keys
from service.errors import StoreDown
from service.keys import StoredKey, create_key, revoke_key
from tests.conftest import ROOT
from tests.integration.running import Service, png, problem, serving

pytestmark = pytest.mark.anyio
OPERATORS = [("GET", "/ops/state"), ("HEAD", "/ops/state"), ("GET", "/ops/nothing"), ("GET", "/ops%2Fstate")]


@pytest.fixture
def environment(stores: StoreSettings) -> dict[str, str]:
    values = {name.upper(): str(value) for name, value in stores.model_dump().items() if value is not None}
    return values | {"PATH": str(Path(sys.executable).parent), "HOST": "127.0.0.1"}


def keys_command(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "service", "keys", *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


async def forget_keys(engine: AsyncEngine) -> None:
    """As if none had ever been made: other tests ask without one."""
    async with engine.begin() as connection:
        await connection.execute(delete(ApiKey))
    await engine.dispose()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def status(service: Service, method: str, url: str, key: str) -> int:
    return (await service.client.request(method, url, headers=bearer(key))).status_code


async def test_each_scope_opens_its_own_requests(trained: StoreSettings) -> None:
    engine = create_engine(trained.sqlalchemy_url)
    made = {scope: await create_key(engine, f"only {scope}", [scope]) for scope in ("read", "write", "admin")}
    try:
        async with serving(trained, host="0.0.0.0") as service:
            requests = {
                "read": [("GET", "/users/u0001/recommendations"), ("GET", "/models"), ("GET", "/tweets/t0001")],
                "write": [("PUT", "/users/u0001/followees/u0001"), ("DELETE", "/tweets/nothing"), ("POST", "/users")],
                "admin": [("POST", "/models:rollback"), ("POST", "/models/nothing:activate"), *OPERATORS],
            }
            for needed, asked in requests.items():
                for method, url in asked:
                    for scope, key in made.items():
                        found = await status(service, method, url, key)
                        assert (found == 403) == (scope != needed), (method, url, scope, found)
            answer = await service.client.delete("/tweets/nothing", headers=bearer(made["read"]))
            assert "write" in problem(answer, 403, "forbidden")["detail"]
            form = {"data": {"author_id": "u0001"}, "files": {"image": ("picture", png())}}
            refused = await service.client.post("/tweets", **form, headers=bearer(made["read"]))  # type: ignore[arg-type]
            problem(refused, 403, "forbidden")
    finally:
        await forget_keys(engine)


async def test_every_route_but_health_and_docs_needs_a_key(trained: StoreSettings) -> None:
    async with serving(trained, host="0.0.0.0", api_key="root") as service:
        paths = (await service.client.get("/openapi.json")).json()["paths"]
        assert len(paths) > 10
        for path, methods in paths.items():
            for method in methods:
                answer = await service.client.request(method, re.sub(r"{\w+}", "x", path))
                assert (answer.status_code == 401) == (not path.startswith("/health/")), (method, path)


async def test_a_body_is_not_read_without_a_key(trained: StoreSettings) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1_000):
            read += 1
            yield b"x" * 1_000

    async with serving(trained, host="0.0.0.0", api_key="root") as service:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        problem(await service.client.post("/tweets:batch", content=body(), headers=headers), 401, "unauthorized")
        problem(await service.client.post("/users", content=b"no json"), 401, "unauthorized")
    assert read == 0


async def test_a_key_counts_at_once_and_a_revoked_one_no_more(trained: StoreSettings) -> None:
    engine = create_engine(trained.sqlalchemy_url)
    try:
        async with serving(trained, host="0.0.0.0", api_key="root") as service:
            key = await create_key(engine, "late", ["read"])
            await asyncio.sleep(0.25)
            assert await status(service, "GET", "/models", key) == 200
            await revoke_key(engine, key.split("_")[1])
            for _ in range(100):
                if await status(service, "GET", "/models", key) == 401:
                    break
                await asyncio.sleep(0.02)
            problem(await service.client.get("/models", headers=bearer(key)), 401, "unauthorized")
            assert await status(service, "GET", "/models", "root") == 200
    finally:
        await forget_keys(engine)


async def test_a_database_that_hangs_is_given_up(trained: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many unknown keys are asked with: they wait for one query at a time, and are told so."""
    begun = at_a_time = most = 0

    async def hangs(_: AsyncEngine) -> list[StoredKey]:
        nonlocal begun, at_a_time, most
        begun, at_a_time = begun + 1, at_a_time + 1
        most = max(most, at_a_time)
        try:
            await asyncio.sleep(60)
        finally:
            at_a_time -= 1
        return []

    async with serving(trained, host="0.0.0.0", api_key="root") as service:
        with monkeypatch.context() as patch:
            patch.setattr(keys, "_READ_SECONDS", 1.0)
            patch.setattr(keys, "list_keys", hangs)
            asked = []
            for number in range(20):
                asked.append(asyncio.create_task(service.client.get("/models", headers=bearer(f"itr_{number:08x}_x"))))
                await asyncio.sleep(0.05)
            async with asyncio.timeout(5):
                answers = await asyncio.gather(*asked)
            for answer in answers:
                assert "database" in problem(answer, 503, "store-unavailable")["detail"]
            with pytest.raises(StoreDown, match="database"):
                await service.parts.keys.read()
        assert most <= 3  # for requests, for the loop that reads twice a second, and for this test
        assert begun <= 6
        problem(await service.client.get("/models", headers=bearer("itr_00000000_x")), 401, "unauthorized")


async def test_with_a_key_loopback_is_no_open_door(trained: StoreSettings) -> None:
    engine = create_engine(trained.sqlalchemy_url)
    try:
        async with serving(trained) as service:
            assert (await service.client.get("/models")).status_code == 200
            key = await create_key(engine, "first", ["read"])
            for _ in range(100):
                if (await service.client.get("/models")).status_code == 401:
                    break
                await asyncio.sleep(0.02)
            problem(await service.client.get("/models"), 401, "unauthorized")
            for wrong in (key[:-1], key + "x", key.replace("itr_", ""), "itr__", "itr_" + "0" * 8 + "_x", "\u00e4"):
                headers = {"authorization": f"Bearer {wrong}".encode()}
                problem(await service.client.get("/models", headers=headers), 401, "unauthorized")  # type: ignore[arg-type]
            await revoke_key(engine, key.split("_")[1])
            await service.parts.keys.read()
            problem(await service.client.get("/models"), 401, "unauthorized")  # the last key's end opens no door
    finally:
        await forget_keys(engine)


def test_keys_are_made_listed_and_revoked(stores: StoreSettings, environment: dict[str, str]) -> None:
    code, key = keys_command(environment, "create", "the app", "--scopes", "read,write")
    assert code == 0
    assert re.fullmatch(r"itr_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", key.strip())
    key_id, secret = key.strip().split("_", 2)[1:]
    code, listed = keys_command(environment, "list")
    assert code == 0
    assert all(word in listed for word in (key_id, "read,write", "the app"))
    assert secret not in listed
    assert secret not in str(asyncio.run(stored(stores)))
    code, said = keys_command(environment, "revoke", key_id)
    assert (code, said.strip()) == (0, f"key {key_id} is revoked")
    assert keys_command(environment, "list") == (0, "")


async def stored(stores: StoreSettings) -> list[tuple[object, ...]]:
    engine = create_engine(stores.sqlalchemy_url)
    try:
        async with engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(select(ApiKey))]
    finally:
        await engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("create", "x", "--scopes", "all"), 2, "all"),
        (("create", "x", "--scopes", ","), 2, "read, write, admin"),
        (("create", ""), 2, "name"),
        (("create", "x" * 65), 2, "name"),
        (("create", "a\nb"), 2, "name"),
        (("revoke", "nothing"), 1, "nothing"),
    ],
)
def test_a_wrong_command_is_one_line(
    environment: dict[str, str], arguments: tuple[str, ...], status: int, said: str
) -> None:
    code, output = keys_command(environment, *arguments)
    assert code == status
    assert output.startswith("error: ")
    assert said in output
    assert len(output.splitlines()) == 1
