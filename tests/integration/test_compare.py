"""GET recommendations with `version`: what another kept version answers, beside the one that serves."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from contract.environment import StoreSettings
from contract.model_folders import ModelFolders
from contract.runtime import Device
from contract.tables import ModelVersion
from contract.transactions import changing
from service import compare
from service.active import ActiveModel, load_model
from service.recommend import Ask, Online, recommend
from service.schemas import Recommendations
from tests.conftest import KINDS, SMALL, publish_small, trained_stores
from tests.integration.running import Service, ask, changed, fields, problem, serving, until
from tests.integration.test_lost import lose_everything, whole
from tests.integration.test_metrics import samples
from tests.integration.test_trial import ended, on_trial

pytestmark = pytest.mark.anyio

USERS = [f"u{n:04}" for n in range(1, 21)]
USER = USERS[0]


@pytest.fixture(scope="module", params=KINDS)
def stores(request: pytest.FixtureRequest, tiny_network: Path) -> Iterator[StoreSettings]:
    """With two versions."""
    with trained_stores(request.param, tiny_network, versions=2) as settings:
        yield settings


@pytest.fixture(scope="module")
def versions(stores: StoreSettings) -> list[str]:
    """The one that serves last."""
    return sorted(folder.name for folder in stores.models_dir.iterdir())


@pytest.fixture
async def service(stores: StoreSettings, versions: list[str]) -> AsyncIterator[Service]:
    async with serving(stores) as started:
        await changed(started, "POST", "/models:end-trial", 200)
        await changed(started, "POST", f"/models/{versions[1]}:activate", 200)
        yield started


def compared(service: Service) -> str | None:
    """The version that is in memory and does not serve."""
    model = service.parts.ingest.models.compared
    return None if model is None else model.version


async def refused(service: Service, status: int, slug: str, **parameters: Any) -> str:
    """What is said of it."""
    answer = await service.client.get(f"/users/{USER}/recommendations", params=parameters)
    return str(problem(answer, status, slug)["detail"])


async def without_cursor(service: Service, user: str, **parameters: Any) -> dict[str, Any]:
    """The answer but for the cursor, which has the time in it."""
    body = await ask(service, user, k=10, **parameters)
    del body["next_cursor"]
    return body


async def test_the_answer_is_the_one_that_it_would_give(service: Service, versions: list[str]) -> None:
    asked: list[dict[str, str]] = [{}, {"explain": "true"}, {"scope": "discover"}]
    await changed(service, "POST", f"/models/{versions[0]}:activate", 200)
    alone = [await without_cursor(service, user, **more) for user in USERS for more in asked]
    await changed(service, "POST", f"/models/{versions[1]}:activate", 200)
    active = [await without_cursor(service, user, **more) for user in USERS for more in asked]
    assert {body["version"] for body in alone} == {versions[0]}
    assert alone != [body | {"version": versions[0]} for body in active]
    for version, expected in zip(versions, (alone, active), strict=True):
        found = [await without_cursor(service, user, version=version, **more) for user in USERS for more in asked]
        assert found == expected
    models = service.parts.ingest.models
    assert (models.required().version, models.on_trial, compared(service)) == (versions[1], None, versions[0])


async def test_it_is_loaded_once_in_a_thread_and_those_who_do_not_ask_for_it_do_not_wait(
    service: Service, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, reached, go_on = list[tuple[str, Device, int]](), threading.Event(), threading.Event()

    def load_slowly(folders: ModelFolders, version: str, device: Device, max_batch: int) -> ActiveModel:
        loaded.append((version, device, threading.get_ident()))
        reached.set()
        assert go_on.wait(60)
        return load_model(folders, version, device, max_batch)

    monkeypatch.setattr(compare, "load_model", load_slowly)
    first = asyncio.create_task(ask(service, USER, version=versions[0]))
    assert await asyncio.to_thread(reached.wait, 60)
    others = [asyncio.create_task(ask(service, user, version=versions[0])) for user in USERS[1:5]]
    assert (await ask(service, USER))["version"] == versions[1]
    assert compared(service) is None
    first.cancel()  # as by the deadline of a read
    await asyncio.wait({first})
    go_on.set()
    assert [(await one)["version"] for one in others] == [versions[0]] * 4
    assert (await ask(service, USER, version=versions[0]))["version"] == versions[0]
    ((name, device, thread),) = loaded
    assert (name, device) == (versions[0], "cpu")
    assert thread != threading.get_ident()


async def test_what_is_held_of_the_active_one_stays(service: Service, versions: list[str]) -> None:
    network = service.parts.online.network
    for user in USERS:
        await ask(service, user)
    held = network._held[versions[1]]
    await ask(service, USER, version=versions[0])
    assert set(network._held) == set(versions)
    network._most_bytes = network._nbytes - 1
    for user in USERS:
        await ask(service, user, version=versions[0])
        await ask(service, user)
        assert network._held[versions[1]] is held
    network._most_bytes = 0
    await ask(service, USER)
    assert network._held[versions[1]] is not held


async def test_a_cursor_is_of_its_version(service: Service, versions: list[str]) -> None:
    everything = await ask(service, USER, k=100, version=versions[0])
    first = await ask(service, USER, k=2, version=versions[0])
    cursor, found = first["next_cursor"], first["items"]
    while cursor is not None:
        page = await ask(service, USER, k=3, version=versions[0], cursor=cursor)
        cursor, found = page["next_cursor"], [*found, *page["items"]]
    assert found == everything["items"]
    assert len(found) > 5
    for more in ({}, {"version": versions[1]}):
        told = await refused(service, 410, "cursor-expired", cursor=first["next_cursor"], **more)
        assert f"with version={versions[0]}" in told
    of_active = (await ask(service, USER, k=2))["next_cursor"]
    assert versions[1] in await refused(service, 410, "cursor-expired", cursor=of_active, version=versions[0])
    second = await ask(service, USER, k=2, cursor=of_active)
    assert (await ask(service, USER, k=2, cursor=of_active, version=versions[1]))["items"] == second["items"]


async def test_what_is_wrong_is_said(service: Service, versions: list[str]) -> None:
    assert "v0 is not known" in await refused(service, 404, "unknown-version", version="v0")
    for bad in ("", "a.b", "x" * 65):
        answer = await service.client.get(f"/users/{USER}/recommendations", params={"version": bad})
        assert fields(problem(answer, 422, "invalid-request")) == ["version"]
    answer = await service.client.get("/users/nobody/recommendations", params={"version": versions[0]})
    problem(answer, 404, "unknown-user")


async def test_a_folder_that_does_not_load_is_refused_until_it_does(service: Service, versions: list[str]) -> None:
    file = service.settings.models_dir / versions[0] / "ranker.onnx"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    try:
        told = await refused(service, 409, "version-unfit", version=versions[0])
        assert (versions[0] in told, "ranker.onnx" in told) == (True, True)
        assert (await ask(service, USER))["version"] == versions[1]
    finally:
        file.write_bytes(data)
    assert (await ask(service, USER, version=versions[0]))["version"] == versions[0]


async def test_it_counts_neither_among_sources_nor_in_a_trial(service: Service, versions: list[str]) -> None:
    old, new = versions
    await on_trial(service, old, 1)
    assert (await ask(service, USER))["trial"]
    before, noted = await samples(service), (await service.client.get("/models")).json()["trial"]["arms"]
    named = {version: await ask(service, USER, version=version) for version in versions}
    assert {version: (body["version"], body["trial"]) for version, body in named.items()} == {
        old: (old, True),
        new: (new, False),
    }
    await on_trial(service, old, 0)
    assert not (await ask(service, USER, version=old))["trial"]
    assert not (await ask(service, USER, version=new))["trial"]
    after = await samples(service)
    assert (await service.client.get("/models")).json()["trial"]["arms"] == noted

    def grown(start: str) -> dict[tuple[tuple[str, str], ...], float]:
        of_it = {key: value - before.get(key, 0) for key, value in after.items() if key[0].startswith(start)}
        return {labels: value for (name, labels), value in of_it.items() if value and not name.endswith("_created")}

    for name in ("recommendations_total", "recommendation_candidates", "trial_answers", "shadow_"):
        assert not grown(name)
    assert grown("compared_answers_total") == {(("version", version),): 2 for version in versions}


async def test_while_redis_has_not_all_of_it_nothing_is_ranked(service: Service, versions: list[str]) -> None:
    expected = await ask(service, USER, k=100, version=versions[0])
    await lose_everything(service)
    assert "/health/ready" in await refused(service, 503, "not-ready", version=versions[0])

    async def the_same() -> bool:
        answer = await service.client.get(f"/users/{USER}/recommendations", params={"k": 100, "version": versions[0]})
        return answer.status_code == 200 and answer.json()["items"] == expected["items"]

    await until(the_same, 20)


async def test_a_version_whose_vectors_redis_lacks_is_not_answered(service: Service, versions: list[str]) -> None:
    await ask(service, USER, version=versions[0])
    await service.parts.ingest.vectors.delete_version(versions[0])
    told = await refused(service, 409, "version-unfit", version=versions[0])
    assert f"publish {versions[0]}" in told
    assert (await service.client.post("/models:rebuild-redis")).status_code == 202
    await until(lambda: whole(service), 20)
    assert (await ask(service, USER, version=versions[0]))["version"] == versions[0]


async def test_one_that_goes_while_it_ranks_is_not_answered(
    service: Service, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row in SQL goes as it does where another version is published."""
    (at,) = [
        row[1] for row in await service.sql(ModelVersion.version, ModelVersion.activated_at) if row[0] == versions[0]
    ]

    async def retire(activated_at: Any) -> None:
        async with changing(service.parts.ingest.database.engine) as connection:
            retired = update(ModelVersion).where(ModelVersion.version == versions[0])
            await connection.execute(retired.values(activated_at=activated_at))

    async def rank_and_retire(request: Ask, model: ActiveModel, online: Online) -> Recommendations:
        answer = await recommend(request, model, online)
        await retire(None)
        return answer

    assert (await ask(service, USER, version=versions[0]))["version"] == versions[0]
    monkeypatch.setattr(compare, "recommend", rank_and_retire)
    assert "publish" in await refused(service, 409, "version-unfit", version=versions[0])
    assert compared(service) is None
    assert versions[0] not in service.parts.online.network._held
    await retire(at)


async def test_one_that_comes_to_serve_is_no_extra_one_any_more(service: Service, versions: list[str]) -> None:
    network = service.parts.online.network
    expected = await without_cursor(service, USER, version=versions[0])
    held = network._held[versions[0]]
    await changed(service, "POST", f"/models/{versions[0]}:activate", 200)
    assert compared(service) is None
    assert await without_cursor(service, USER) == await without_cursor(service, USER, version=versions[0]) == expected
    assert network._held[versions[0]] is held
    await ask(service, USER, version=versions[1])
    assert compared(service) == versions[1]
    await on_trial(service, versions[1], 0.5)
    assert compared(service) is None


async def test_another_one_takes_its_place_and_a_retired_one_is_not_answered(
    service: Service, stores: StoreSettings, versions: list[str], tiny_network: Path
) -> None:
    """From here on there are three versions: the first is retired, the second kept, the third serves."""
    models, network = service.parts.ingest.models, service.parts.online.network
    await ask(service, USER, version=versions[0])
    third = await asyncio.to_thread(publish_small, tiny_network, stores, SMALL.model_copy(update={"seed": 2}))

    async def serves() -> bool:
        return models.required().version == third

    await until(serves, 10)
    assert compared(service) == versions[0]
    await ask(service, USER)
    await ask(service, USER, version=versions[1])
    assert (compared(service), set(network._held)) == (versions[1], {versions[1], third})
    assert f"publish {versions[0]}" in await refused(service, 409, "version-unfit", version=versions[0])
    assert await ended(service)


async def test_a_deleted_one_is_not_answered_from_memory(service: Service, versions: list[str]) -> None:
    """The last test: the version before is gone afterwards."""
    (active,) = {model["version"] for model in (await service.client.get("/models")).json()["models"]} - set(versions)
    await changed(service, "POST", f"/models/{active}:activate", 200)
    await ask(service, USER, version=versions[1])
    assert compared(service) == versions[1]
    await changed(service, "DELETE", f"/models/{versions[1]}", 204)
    assert versions[1] in await refused(service, 404, "unknown-version", version=versions[1])
    assert compared(service) is None
    assert versions[1] not in service.parts.online.network._held
