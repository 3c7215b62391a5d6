"""/models: two versions, one that serves and one to go back to."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from contract.artifact import Artifact
from contract.blobs import BlobStore
from contract.environment import StoreSettings
from contract.fold_in import FoldInStores
from contract.progress import Progress, silent
from contract.runtime import OnnxModel
from contract.tables import Tweet, TweetVector, create_engine
from contract.transactions import changing
from service.active import ActiveModels
from tests.conftest import KINDS, fresh_stores, import_into, publish_small
from tests.integration.running import Service, changed, new_user, png, problem, serving, until
from training import publish
from training.retrain import publish_folder
from training.settings import TrainingSettings

pytestmark = pytest.mark.anyio

AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module", params=KINDS)
def two_versions(request: pytest.FixtureRequest, tiny_network: Path) -> Iterator[tuple[StoreSettings, list[str]]]:
    """Stores with two versions, the older first."""
    with fresh_stores(request.param) as stores:
        import_into(stores, tiny_network)
        small = TrainingSettings(backbone="tiny", dim=8, text_dim=8, word_dim=8, epochs=1)
        yield stores, [publish_small(tiny_network, stores, small.model_copy(update={"dim": dim})) for dim in (8, 12)]


@pytest.fixture
def versions(two_versions: tuple[StoreSettings, list[str]]) -> list[str]:
    return two_versions[1]


@pytest.fixture
async def service(two_versions: tuple[StoreSettings, list[str]]) -> AsyncIterator[Service]:
    """With the newer version active."""
    stores, versions = two_versions
    async with serving(stores) as started:
        if (await models(started))["active"] != versions[1]:
            await activated(started, f"/models/{versions[1]}:activate")
        yield started


async def models(service: Service) -> dict[str, Any]:
    answer = await service.client.get("/models")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def activated(service: Service, url: str) -> dict[str, Any]:
    answer = await service.client.post(url)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def answered_by(service: Service, user: str) -> str:
    return str((await service.client.get(f"/users/{user}/recommendations")).json()["version"])


async def test_all_versions_are_listed(service: Service, versions: list[str]) -> None:
    body = await models(service)
    assert body["active"] == versions[1]
    assert [model["version"] for model in body["models"]] == versions[::-1]
    assert all(model["kept"] and model["metrics"] for model in body["models"])


async def test_a_rollback_and_back(service: Service, versions: list[str], author: str) -> None:
    old, new = versions
    assert await answered_by(service, author) == new
    tweet = (await service.post(png("peru"), author_id=author)).json()["tweet_id"]
    assert (await activated(service, "/models:rollback"))["active"] == old
    assert await answered_by(service, author) == old
    for _ in range(200):  # the tweet was encoded under the other version alone
        if (tweet, old) in await service.sql(TweetVector.tweet_id, TweetVector.version):
            break
        await asyncio.sleep(0.05)
    assert (await service.client.get(f"/tweets/{tweet}")).json()["version"] == old
    for _ in range(2):
        assert (await activated(service, f"/models/{new}:activate"))["active"] == new
        assert await answered_by(service, author) == new


async def test_a_version_that_does_not_verify_never_serves(service: Service, versions: list[str], author: str) -> None:
    file = service.settings.models_dir / versions[0] / "ranker.onnx"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    try:
        for url in (f"/models/{versions[0]}:activate", "/models:rollback"):
            body = problem(await service.client.post(url), 409, "version-unfit")
            assert "ranker.onnx" in body["detail"]
    finally:
        file.write_bytes(data)
    assert (await models(service))["active"] == versions[1]
    assert await answered_by(service, author) == versions[1]


async def test_an_unknown_version_is_named(service: Service) -> None:
    body = problem(await service.client.post("/models/v0:activate"), 404, "unknown-version")
    assert "v0" in body["detail"]


async def test_there_is_nothing_before_the_first_version(trained: StoreSettings) -> None:
    async with serving(trained) as service:
        problem(await service.client.post("/models:rollback"), 409, "version-unfit")


async def test_a_new_user_has_a_vector_of_their_last_retweets_under_whatever_version_serves(
    service: Service, versions: list[str], author: str
) -> None:
    old, new = versions
    for colour in ("olive", "plum"):
        assert (await service.post(png(colour), author_id=author, tweet_id=f"new-{colour}")).status_code == 201
    await new_user(service, "moves")
    await changed(service, "PUT", f"/users/moves/followees/{author}", 201)
    await changed(service, "PUT", "/users/moves/retweets/new-olive", 201)
    by_one = await folded(service, new, "moves", None)
    assert (await activated(service, "/models:rollback"))["active"] == old
    under_old = await folded(service, old, "moves", None)
    await changed(service, "PUT", "/users/moves/retweets/new-plum", 201)
    await folded(service, old, "moves", under_old)
    await activated(service, f"/models/{new}:activate")
    await folded(service, new, "moves", by_one)


async def folded(service: Service, version: str, user: str, before: bytes | None) -> bytes:
    """The user's vector under a version, as soon as it is there and another one than before."""
    vectors = service.parts.ingest.vectors
    dim = service.parts.ingest.models.required().manifest.dim
    for _ in range(300):
        _, found_KD = await vectors.users(version, [user], dim)
        if len(found_KD) and found_KD.tobytes() != before:
            return found_KD.tobytes()
        await asyncio.sleep(0.02)
    raise AssertionError(f"{user} has no new vector under {version}")


async def test_a_tweet_posted_while_a_version_is_published_has_a_vector_when_it_serves(
    two_versions: tuple[StoreSettings, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, versions = two_versions
    fold_in = publish.fold_in_untrained

    async def post_and_fold_in(exported: Artifact, model: OnnxModel, stores_: FoldInStores, progress: Progress) -> None:
        blob = BlobStore(stores.image_store_url).put(png("plum"))
        late = {"tweet_id": "late", "author_id": "u0001", "text": "Late.", "image_key": blob, "created_at": AT}
        async with changing(stores_.engine) as connection:
            await connection.execute(insert(Tweet).values(**late))
        await fold_in(exported, model, stores_, progress)

    monkeypatch.setattr(publish, "fold_in_untrained", post_and_fold_in)
    await asyncio.to_thread(publish_folder, stores.models_dir / versions[1], stores, silent)
    engine = create_engine(stores.sqlalchemy_url)
    async with engine.connect() as connection:
        encoded = await connection.scalars(select(TweetVector.version).where(TweetVector.tweet_id == "late"))
        assert list(encoded) == [versions[1]]
    await engine.dispose()


async def test_what_is_posted_during_a_publish_has_a_vector_of_both_and_the_swap_loads_nothing(
    service: Service, versions: list[str], author: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, models = service.settings, service.parts.ingest.models
    real, reached, go_on = publish.fold_in_untrained, threading.Event(), threading.Event()

    async def wait(exported: Artifact, model: OnnxModel, stores_: FoldInStores, progress: Progress) -> None:
        reached.set()
        assert await asyncio.to_thread(go_on.wait, 60)
        await real(exported, model, stores_, progress)

    async def is_loaded() -> bool:
        return models.upcoming is not None

    async def serves() -> bool:
        return models.current is upcoming

    monkeypatch.setattr(publish, "fold_in_untrained", wait)
    published = asyncio.create_task(asyncio.to_thread(publish_folder, stores.models_dir / versions[0], stores, silent))
    assert await asyncio.to_thread(reached.wait, 60)
    await until(is_loaded, 20)
    upcoming = models.upcoming
    assert upcoming is not None
    assert (upcoming.version, models.required().version) == (versions[0], versions[1])
    assert (await service.post(png("navy"), author_id=author, tweet_id="meanwhile")).status_code == 201
    known = await service.sql(TweetVector.tweet_id, TweetVector.version)
    assert {version for tweet_id, version in known if tweet_id == "meanwhile"} == set(versions)
    go_on.set()
    await published
    await until(serves, 5)
    await until_none(models)


async def until_none(models: ActiveModels) -> None:
    """The one to come is the one that serves: there is none to come."""

    async def none() -> bool:
        return models.upcoming is None

    await until(none, 5)


async def test_a_version_is_shown_with_its_manifest(service: Service, versions: list[str]) -> None:
    for version in versions:
        body = (await service.client.get(f"/models/{version}")).json()
        assert (body["version"], body["active"], body["kept"]) == (version, version == versions[1], True)
        assert body["manifest"]["version"] == version
        assert set(body["manifest"]["files"]) >= {"encoder.onnx", "user_vectors.npy"}
        curve, epochs = body["manifest"]["curve"], body["manifest"]["settings"]["epochs"]
        assert [epoch["epoch"] for epoch in curve] == list(range(1, epochs + 1))
        assert all(0 < epoch["auc"] < 1 and epoch["loss"] > 0 for epoch in curve)
    problem(await service.client.get("/models/v0"), 404, "unknown-version")


async def test_a_version_is_verified_over_http(service: Service, versions: list[str]) -> None:
    body = (await service.client.post(f"/models/{versions[0]}:verify")).json()
    assert body["version"] == versions[0]
    assert 0 <= body["difference"] < 1e-3
    file = service.settings.models_dir / versions[0] / "golden.npz"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    try:
        told = problem(await service.client.post(f"/models/{versions[0]}:verify"), 409, "version-unfit")
        assert "golden.npz" in told["detail"]
    finally:
        file.write_bytes(data)
    problem(await service.client.post("/models/v0:verify"), 404, "unknown-version")


async def test_redis_is_written_anew_on_demand(service: Service) -> None:
    users = [f"u{n:04}" for n in range(1, 30)]
    before = [await service.recommended(user, 10) for user in users]
    graph = service.parts.ingest.graph
    await graph._home.redis.delete(*[f"{service.settings.redis_namespace}:timeline:{user}" for user in users])
    assert (await service.client.post("/models:rebuild-redis")).status_code == 202

    async def the_same() -> bool:
        whole = (await service.client.get("/health/ready")).json()["redis"] == "ok"
        return whole and before == [await service.recommended(user, 10) for user in users]

    await until(the_same, 20)  # who was folded in is so again a moment after the rest


async def test_a_version_is_deleted_over_http(service: Service, versions: list[str]) -> None:
    """The last test: the version before is gone afterwards."""
    assert "serves" in problem(await service.client.delete(f"/models/{versions[1]}"), 409, "version-unfit")["detail"]
    problem(await service.client.delete("/models/v0"), 404, "unknown-version")
    (service.settings.models_dir / versions[0] / "manifest.json").write_text("{", "utf-8")
    problem(await service.client.get(f"/models/{versions[0]}"), 409, "version-unfit")
    assert (await service.client.delete(f"/models/{versions[0]}")).status_code == 204
    assert not (service.settings.models_dir / versions[0]).exists()
    assert [model["version"] for model in (await models(service))["models"]] == versions[1:]
    assert {version for _, version in await service.sql(TweetVector.tweet_id, TweetVector.version)} == {versions[1]}
    assert await service.parts.ingest.vectors.versions() == {versions[1]}
    problem(await service.client.delete(f"/models/{versions[0]}"), 404, "unknown-version")
    problem(await service.client.post("/models:rollback"), 409, "version-unfit")
