"""A folder of a model is used only if all of it verifies, with the reason said; the version before serves on."""

import asyncio
import json
import re
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract import artifact, runtime
from contract.artifact import FILES
from contract.environment import StoreSettings
from contract.errors import ArtifactInvalid
from contract.link import social_parts
from tests.conftest import trained_stores
from tests.integration.running import Service, problem, serving
from tests.spoiling import WAYS, flip_a_byte, name_anew, one_user_less
from training.__main__ import main
from training.models import verify_version

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def stores(tiny_network: Path) -> Iterator[StoreSettings]:
    """With two versions."""
    with trained_stores("embedded", tiny_network, versions=2) as settings:
        yield settings


@pytest.fixture(scope="module")
def versions(stores: StoreSettings) -> list[str]:
    """The one that serves last."""
    return sorted(folder.name for folder in stores.models_dir.iterdir())


@pytest.fixture
def good(stores: StoreSettings, versions: list[str]) -> Iterator[Path]:
    """The folder of the one that does not serve; what is done to it is undone."""
    folder = stores.models_dir / versions[0]
    kept = Path(shutil.copytree(folder, stores.var_dir / "kept"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    kept.rename(folder)


@pytest.fixture(autouse=True)
def environment(stores: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands' environment."""
    monkeypatch.setenv("VAR_DIR", str(stores.var_dir))
    monkeypatch.setenv("MODELS_DIR", str(stores.models_dir))
    monkeypatch.setenv("REDIS_NAMESPACE", stores.redis_namespace)
    for name in ("DATABASE_URL", "REDIS_URL", "BLOB_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def service(stores: StoreSettings) -> AsyncIterator[Service]:
    async with serving(stores) as started:
        yield started


async def version_of_an_answer(service: Service) -> str:
    answer = await service.client.get("/users/u0001/recommendations")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["version"])


def test_a_graph_that_does_not_add_followees_parts_up_is_refused(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What explains an answer is computed beside the graph: where one is changed and not the other, it shows."""

    def other_parts(*of: Any) -> Any:
        return 1.01 * social_parts(*of)

    monkeypatch.setattr(runtime, "social_parts", other_parts)
    with pytest.raises(ArtifactInvalid, match="the sum of followees' parts"):
        runtime.verify_folder(good, "cpu")


def test_a_good_version_verifies(good: Path) -> None:
    assert verify_version(good) < 1e-3


async def test_one_that_was_exported_before_curves_were_kept_loads(good: Path, service: Service) -> None:
    path = good / "manifest.json"
    written = json.loads(path.read_text("utf-8"))
    assert len(written["curve"]) == 2
    assert written["data"].pop("last_tweet_at")
    del written["curve"]
    path.write_text(json.dumps(written), "utf-8")
    assert verify_version(good) < 1e-3
    manifest = (await service.client.get(f"/models/{good.name}")).json()["manifest"]
    assert (manifest["curve"], manifest["data"]["last_tweet_at"]) == (None, None)


@pytest.fixture
def swapped(stores: StoreSettings, good: Path) -> Path:
    """A folder that is not yet in the place of `good`: the same without its first user."""
    draft = Path(shutil.copytree(good, stores.var_dir / "swapped"))
    one_user_less(draft)
    ids = json.loads((draft / "user_ids.json").read_text("utf-8"))[1:]
    (draft / "user_ids.json").write_text(json.dumps(ids), "utf-8")
    name_anew(draft, "user_ids.json")
    return draft


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("moment", FILES)
def test_a_folder_that_is_swapped_meanwhile_is_read_again(
    good: Path, swapped: Path, monkeypatch: pytest.MonkeyPatch, moment: str, away: bool
) -> None:
    """Before any file, and while there is none."""
    users = artifact.load(good).user_ids
    check_file = artifact.check_file
    later = threading.Timer(0.05, swapped.rename, [good])

    def checked(path: Path, manifest: artifact.Manifest) -> None:
        if path.name == moment and swapped.exists() and good.exists():
            shutil.rmtree(good)
            later.start() if away else swapped.rename(good)
        check_file(path, manifest)

    monkeypatch.setattr(artifact, "check_file", checked)
    assert artifact.load(good).user_ids == users[1:]


def test_a_folder_that_is_away_at_first_is_read_again(good: Path, swapped: Path) -> None:
    shutil.rmtree(good)
    threading.Timer(0.05, swapped.rename, [good]).start()
    artifact.load(good)


def test_a_folder_that_is_missing_or_damaged_is_not_waited_for_long(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("contract.artifact.time.sleep", waits.append)
    flip_a_byte(good, "ranker.onnx")
    with pytest.raises(ArtifactInvalid, match="is not the file"):
        artifact.load(good)
    assert waits == []
    with pytest.raises(ArtifactInvalid, match="no complete model is there"):
        artifact.load(good / "missing")
    assert len(waits) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_spoilt_version_is_refused_and_the_other_one_serves_on(
    service: Service,
    versions: list[str],
    good: Path,
    way: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil, reason = WAYS[way]
    spoil(good)
    with pytest.raises(ArtifactInvalid, match=reason):
        verify_version(good)
    for url in (f"/models/{versions[0]}:activate", "/models:rollback"):
        body = problem(await service.client.post(url), 409, "version-unfit")
        assert re.search(reason, body["detail"]), body
    assert await version_of_an_answer(service) == versions[1]
    assert await asyncio.to_thread(main, ["publish", versions[0]]) == 1
    assert re.search(reason, capsys.readouterr().err)
    assert await version_of_an_answer(service) == versions[1]


@pytest.mark.parametrize("way", ["a flipped byte in ranker.onnx", "another tokenizer", "vectors in float32"])
async def test_a_pointer_to_a_spoilt_version_changes_nothing(
    service: Service, versions: list[str], good: Path, way: str
) -> None:
    spoil, reason = WAYS[way]
    vectors, models = service.parts.ingest.vectors, service.parts.ingest.models
    spoil(good)
    async with models._loading:  # nobody else looks before this test does
        asking = asyncio.create_task(models.refresh())
        await asyncio.sleep(0)
        await vectors.activate(versions[0])
    try:
        with pytest.raises(ArtifactInvalid, match=reason):
            await asking
        assert not await models.refresh()
        ready = await service.client.get("/health/ready")
        assert (ready.status_code, versions[0] in ready.json()["redis"]) == (503, True)
        assert await version_of_an_answer(service) == versions[1]
        with pytest.raises(ArtifactInvalid, match=reason):
            async with serving(service.settings):
                pytest.fail("a service must not start on it")
    finally:
        await vectors.activate(versions[1])
