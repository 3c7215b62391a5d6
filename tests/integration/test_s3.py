"""Pictures and models on storage that speaks S3: a service, the trainer, backups, and an outage in the middle."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contract import filesystems
from contract.blobs import BlobStore, blob_key
from contract.environment import StoreSettings
from contract.progress import silent
from tests.agreement import disagreements
from tests.conftest import SMALL, copied_stores, fresh_stores, publish_small
from tests.integration.backups import command, take
from tests.integration.running import Service, answer, ask, changed, png, problem, serving, until
from tests.object_store import ObjectStore, object_store
from tests.proxy import Proxy, proxy_to
from training.retrain import publish_folder

pytestmark = pytest.mark.anyio
USER = "u0001"
COLOURS = ("plum", "navy", "lime")


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


@pytest.fixture(scope="module")
def stores(trained_servers: StoreSettings, server: ObjectStore) -> Iterator[StoreSettings]:
    """Of the machine that trains: its pictures are on S3, and its model where all machines find it."""
    with copied_stores(trained_servers) as local:
        there = local.model_copy(update={"blob_url": server.url("pictures"), "models_url": server.url("models")})
        images, blobs = local.var_dir / "images", BlobStore(server.url("pictures"))
        for path in images.glob("??/*"):
            blobs.put(path.read_bytes())
            path.unlink()
        (model,) = local.models_dir.iterdir()
        publish_folder(model, there, silent)
        yield there


@pytest.fixture
async def proxy(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """Before the store, for those who open it from now on."""
    async with proxy_to(("127.0.0.1", server.port)) as proxy:
        quick = {"read_timeout": 1, "retries": {"mode": "standard", "total_max_attempts": 2}}
        for name, value in quick.items():
            monkeypatch.setitem(filesystems.S3_OPTIONS["config_kwargs"], name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        yield proxy


@asynccontextmanager
async def elsewhere(stores: StoreSettings, folder: Path) -> AsyncIterator[Service]:
    """A service on another machine: it shares no folder."""
    async with serving(stores.model_copy(update={"models_dir": folder / "models", "var_dir": folder / "var"})) as there:
        yield there


async def fetched_users(service: Service) -> list[str]:
    version = service.parts.ingest.models.required().version
    users: list[str] = json.loads(
        (service.settings.var_dir / "fetched_models" / version / "user_ids.json").read_bytes()
    )
    return users


async def post(service: Service, colour: str, **more: str) -> Any:
    return await service.post(png(colour, (52, 43)), author_id="u0002", text="Calm lake.", **more)


async def test_a_picture_is_there_for_all_and_goes_with_its_tweet(
    stores: StoreSettings, server: ObjectStore, tmp_path: Path
) -> None:
    picture = png("teal", (52, 43))
    key = blob_key(picture)
    async with elsewhere(stores, tmp_path / "a") as one, elsewhere(stores, tmp_path / "b") as other:
        posted = await post(one, "teal")
        assert posted.status_code == 201, posted.text
        tweet = posted.json()["tweet_id"]
        assert f"{key[:2]}/{key}" in server.keys("pictures")
        shown = await other.client.get(f"/tweets/{tweet}/image")
        assert (shown.content, shown.headers["content-type"]) == (picture, "image/png")
        await changed(other, "DELETE", f"/tweets/{tweet}", 204)
        assert f"{key[:2]}/{key}" not in server.keys("pictures")
        problem(await one.client.get(f"/tweets/{tweet}/image"), 404, "unknown-tweet")
    assert {path.name for path in (tmp_path / "a" / "var").iterdir()} == {"fetched_models"}


def cut_off(proxy: Proxy) -> None:
    proxy.cut()


def hang(proxy: Proxy) -> None:
    proxy.stall()


@pytest.mark.parametrize("fault", [cut_off, hang])
async def test_a_store_that_is_away_takes_nothing_and_leaves_nothing(
    stores: StoreSettings,
    server: ObjectStore,
    tmp_path: Path,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Proxy], None],
) -> None:
    async with elsewhere(stores, tmp_path) as service:
        kept = (await post(service, "gold")).json()["tweet_id"]
        expected, state, keys = await answer(service, USER), await service.state(), server.keys("pictures")
        fault(proxy)
        started = time.monotonic()
        answers = await asyncio.gather(
            *(post(service, colour, tweet_id=f"away-{fault.__name__}-{colour}") for colour in COLOURS),
            service.client.get(f"/tweets/{kept}/image"),
        )
        assert time.monotonic() - started < 12
        for one in answers:
            assert "store of pictures" in problem(one, 503, "store-unavailable")["detail"]
            assert int(one.headers["retry-after"]) > 0
        assert await answer(service, USER) == expected
        ready = await service.client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert (await service.client.put("/users/u0001/hidden/t0001")).status_code in (200, 201)
        await changed(service, "DELETE", "/users/u0001/hidden/t0001", 204)
        assert (await service.state(), server.keys("pictures")) == (state, keys)
        await changed(service, "DELETE", f"/tweets/{kept}", 204)
        proxy.heal()
        gold = blob_key(png("gold", (52, 43)))
        await until(lambda: is_gone(service, gold), 20)
        posted = await post(service, "plum", tweet_id=f"away-{fault.__name__}-plum")
        assert posted.status_code == 201, posted.text
        await changed(service, "DELETE", f"/tweets/away-{fault.__name__}-plum", 204)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.variables["AWS_ENDPOINT_URL"])
    assert await disagreements(stores) == []


async def is_gone(service: Service, key: str) -> bool:
    """The picture, which the background removes."""
    return not await asyncio.to_thread(service.parts.ingest.pictures.blobs.exists, key)


async def test_what_is_published_is_served_by_a_machine_that_has_no_folder_of_it(
    stores: StoreSettings,
    tiny_network: Path,
    tmp_path: Path,
    proxy: Proxy,
    server: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Made of pictures on S3; not to be had for a moment; without a deleted user anywhere; rolled back and deleted."""
    async with serving(stores) as here, elsewhere(stores, tmp_path) as there:
        first = there.parts.ingest.models.required().version
        assert await answer(there, USER) == await answer(here, USER)
        user = there.parts.ingest.models.required().artifact.user_ids[-1]
        await changed(there, "DELETE", f"/users/{user}", 204)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.variables["AWS_ENDPOINT_URL"])
        assert user in await fetched_users(there)
        said = await asyncio.to_thread(command, stores, "models", "redact")
        assert said[0] == 0, said
        await asyncio.to_thread(there.parts.ingest.models.folders.renew, {first})
        assert user not in await fetched_users(there)

        proxy.cut()
        second = await asyncio.to_thread(publish_small, tiny_network, stores, SMALL.model_copy(update={"seed": 1}))
        await asyncio.sleep(1.5)
        assert (await ask(there, USER))["version"] == first
        ready = await there.client.get("/health/ready")
        assert f"names version {second}, which is not loaded" in ready.json()["redis"]
        proxy.heal()
        there.parts.ingest.models._refused.clear()
        await until(lambda: serves(there, second), 20)
        await until(lambda: serves(here, second), 20)
        assert await answer(there, USER) == await answer(here, USER)
        assert user not in await fetched_users(there)

        (tmp_path / "var" / "fetched_models" / first).rename(tmp_path / "first")  # as on a machine that is new
        assert (await there.client.post("/models:rollback")).json()["active"] == first
        assert (await ask(there, USER))["version"] == first
        shown = (await there.client.get(f"/models/{second}")).json()
        assert shown["manifest"]["version"] == second
        await changed(there, "DELETE", f"/models/{second}", 204)
        assert {key.split("/")[0] for key in server.keys("models")} == {first}


async def serves(service: Service, version: str) -> bool:
    return bool((await ask(service, USER))["version"] == version)


def test_a_backup_of_all_that_is_there_comes_back_there(stores: StoreSettings, server: ObjectStore) -> None:
    made = take(stores, server.url("backup"))
    assert made.models
    assert "backup.json" in server.keys("backup")
    assert not [key for key in server.keys("backup") if "partial" in key]
    with fresh_stores("servers") as empty:
        there = {"blob_url": server.url("restored"), "models_url": server.url("restored-models")}
        restored = empty.model_copy(update=there)
        said = command(restored, "restore", server.url("backup"))
        assert said[0] == 0, said
        assert server.keys("restored") == server.keys("pictures")
        assert {key.split("/")[0] for key in server.keys("restored-models")} == set(made.models)
        assert asyncio.run(disagreements(restored)) == []
