"""Users who are deleted: nothing that names them is left, and nothing brings them back."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contract import artifact
from contract.blobs import blob_key
from contract.environment import StoreSettings
from contract.model_folders import ModelFolders
from contract.progress import silent
from contract.tables import User
from service import leaving
from tests.agreement import disagreements
from tests.conftest import copied_stores, import_into
from tests.integration.running import Service, changed, new_user, png, problem, serving, until
from tests.integration.test_lost import lose_everything, whole
from tests.leftovers import places
from training import importer
from training.dataset.checks import Known
from training.dump import export_dataset
from training.errors import InputRejected
from training.models import activate_version
from training.publish import rebuild_redis
from training.redaction import redact
from training.retrain import publish_folder, retrain
from training.settings import Gate, TrainingSettings
from training.stores import Stores, with_stores

pytestmark = pytest.mark.anyio
SMALL = TrainingSettings(backbone="tiny", dim=16, text_dim=16, word_dim=16, epochs=1)


@pytest.fixture
def stores(trained: StoreSettings) -> Iterator[StoreSettings]:
    """A test's own: who is deleted does not come back."""
    with copied_stores(trained) as copied:
        yield copied


@pytest.fixture
async def service(stores: StoreSettings) -> AsyncIterator[Service]:
    async with serving(stores) as started:
        yield started


def trained_user(service: Service) -> str:
    """Who has a vector in the exported model."""
    return service.parts.ingest.models.required().artifact.user_ids[0]


async def vector_of(service: Service, user: str) -> bytes:
    model = service.parts.ingest.models.required()
    found, u_1D = await service.parts.ingest.vectors.users(model.version, [user], model.manifest.dim)
    return u_1D.tobytes() if found else b""


async def make_busy(service: Service, user: str) -> list[str]:
    """Everything that can name a user does. Returns a tweet of theirs, its picture and its words."""
    other, fan = await new_user(service, "other"), await new_user(service, "fan")
    picture = png("tomato", (43, 37))
    mine = (await service.post(picture, author_id=user, text="Only mine.")).json()["tweet_id"]
    theirs = (await service.post(png("teal", (44, 37)), author_id=other)).json()["tweet_id"]
    hidden = (await service.post(png("navy", (45, 37)), author_id=other)).json()["tweet_id"]
    for method, url in (
        ("PUT", f"/users/{user}/followees/{other}"),
        ("PUT", f"/users/{other}/followees/{user}"),
        ("PUT", f"/users/{fan}/followees/{user}"),
        ("PUT", f"/users/{user}/retweets/{theirs}"),
        ("PUT", f"/users/{user}/hidden/{hidden}"),
        ("PUT", f"/users/{other}/retweets/{mine}"),
        ("PUT", f"/users/{fan}/hidden/{mine}"),
    ):
        await changed(service, method, url, 201)
    parts, version = service.parts.ingest, service.parts.ingest.models.required().version
    await parts.recommended.note(version, user, [theirs])
    await parts.fold_ins._list([user])
    return [mine, blob_key(picture), "Only mine."]


async def test_nothing_of_a_deleted_user_is_left_anywhere(service: Service, stores: StoreSettings) -> None:
    user = trained_user(service)
    _, picture, words = await make_busy(service, user)
    vector = await vector_of(service, user)
    assert len(vector) == 32
    assert len(await places(stores, user.encode())) > 10
    assert await places(stores, vector)
    await changed(service, "DELETE", f"/users/{user}", 204)
    assert not await beside_models(stores, user)
    assert await redact(ModelFolders(stores.models_dir), service.parts.ingest.database.engine) == [in_service(service)]
    for wanted in (user.encode(), picture.encode(), words.encode(), vector):
        assert await places(stores, wanted) == [], wanted
    assert await disagreements(stores) == []
    artifact.load(stores.models_dir / in_service(service))
    assert await redact(ModelFolders(stores.models_dir), service.parts.ingest.database.engine) == []


async def beside_models(stores: StoreSettings, user: str) -> list[str]:
    """Where a user is named but in exported models."""
    return [place for place in await places(stores, user.encode()) if Path(place).name != "user_ids.json"]


def in_service(service: Service) -> str:
    return service.parts.ingest.models.required().version


def opened(service: Service) -> Stores:
    ingest = service.parts.ingest
    return Stores(ingest.database.engine, service.redis, service.settings)


async def test_a_deleted_user_is_unknown_at_once_and_for_good(service: Service) -> None:
    user = trained_user(service)
    await make_busy(service, user)
    for _ in range(2):
        await changed(service, "DELETE", f"/users/{user}", 204)
        client = service.client
        problem(await client.get(f"/users/{user}/recommendations"), 404, "unknown-user")
        problem(await client.put(f"/users/{user}/followees/other"), 404, "unknown-user")
        problem(await client.put(f"/users/other/followees/{user}"), 404, "unknown-user")
        problem(await service.post(png(), author_id=user), 422, "unknown-author")
        body = problem(await client.post("/users", json={"user_id": user}), 409, "user-deleted")
        assert user in body["detail"]
    problem(await service.client.delete("/users/nobody"), 404, "unknown-user")
    assert await service.recommended("fan", 100) is not None


async def test_a_lost_redis_brings_nobody_back(service: Service, stores: StoreSettings) -> None:
    """The process has the vector in memory still, and the exported model on disk."""
    user = trained_user(service)
    vector = await vector_of(service, user)
    await changed(service, "DELETE", f"/users/{user}", 204)
    await lose_everything(service)
    await until(lambda: whole(service), 20)
    assert await vector_of(service, user) == b""
    await rebuild_redis(stores.models_dir, opened(service), silent)
    found = await places(stores, user.encode()) + await places(stores, vector)
    assert {Path(place).name for place in found} == {"user_ids.json", "user_vectors.npy"}


async def test_who_is_not_erased_at_once_is_gone_at_once(
    service: Service, stores: StoreSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is exported, read for training or imported meanwhile does not know the user any more."""
    user = trained_user(service)
    mine, *_ = await make_busy(service, user)
    before = await export_and_read(stores, tmp_path / "before")
    assert user in before
    monkeypatch.setattr(leaving, "_tweets", stalled)
    await changed(service, "DELETE", f"/users/{user}", 202)
    problem(await service.client.get(f"/users/{user}/recommendations"), 404, "unknown-user")
    problem(await service.client.post("/users", json={"user_id": user}), 409, "user-deleted")
    problem(await service.client.put(f"/users/fan/followees/{user}"), 404, "unknown-user")
    for url in (f"/tweets/{mine}", f"/tweets/{mine}/image", f"/tweets/{mine}/similar"):
        problem(await service.client.get(url), 404, "unknown-tweet")
    for scope in ("followees", "discover"):
        url = f"/users/fan/recommendations?k=100&explain=true&scope={scope}"
        assert user not in (await service.client.get(url)).text
    assert user not in await export_and_read(stores, tmp_path / "meanwhile")
    with pytest.raises(InputRejected, match=f"{user} was deleted"):
        await asyncio.to_thread(import_into, stores, tmp_path / "before")
    monkeypatch.undo()
    await until(lambda: gone(service, user), 20)
    assert not await beside_models(stores, user)
    assert await disagreements(stores) == []


async def stalled(_user_id: str, _parts: object) -> bool:
    raise TimeoutError


async def gone(service: Service, user: str) -> bool:
    """By what goes on in the background."""
    return (user,) not in await service.sql(User.user_id)


async def export_and_read(stores: StoreSettings, folder: Path) -> str:
    await export_dataset(folder, "jsonl", stores, silent)
    return await asyncio.to_thread(lambda: "".join(path.read_text("utf-8") for path in folder.glob("*.jsonl")))


async def test_an_export_with_a_deleted_user_brings_nobody_back(
    service: Service, stores: StoreSettings, tmp_path: Path
) -> None:
    user = trained_user(service)
    await make_busy(service, user)
    await export_dataset(tmp_path / "old", "jsonl", stores, silent)
    await changed(service, "DELETE", f"/users/{user}", 204)
    rejects = tmp_path / "rejects.jsonl"
    report = await asyncio.to_thread(import_into, stores, tmp_path / "old", rejects)
    assert (report.users, report.rejected["users"]) == (0, 1)
    assert set(report.rejected) == {"users", "follows", "tweets", "retweets", "hides"}
    first = json.loads(rejects.read_text("utf-8").splitlines()[0])
    assert (first["field"], first["reason"]) == (
        "user_id",
        f"{user} was deleted: remove the row and what refers to it",
    )
    assert not await beside_models(stores, user)


async def test_a_user_who_is_deleted_while_an_import_runs_stays_deleted(
    service: Service, stores: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = trained_user(service)
    await make_busy(service, user)
    await export_dataset(tmp_path / "old", "jsonl", stores, silent)
    read_known = importer.read_known

    async def and_then_deleted(engine: AsyncEngine) -> Known:
        known = await read_known(engine)
        await changed(service, "DELETE", f"/users/{user}", 204)
        return known

    monkeypatch.setattr(importer, "read_known", and_then_deleted)
    report = await importer.import_dataset(tmp_path / "old", opened(service), silent, tmp_path / "rejects.jsonl")
    assert (report.users, report.follows, report.retweets, report.hides) == (0, 0, 0, 0)
    assert {"follows", "tweets", "retweets", "hides"} >= set(report.rejected)
    assert not await beside_models(stores, user)


async def test_a_redis_that_forgot_the_deletion_is_mended(service: Service, stores: StoreSettings) -> None:
    """As after a failover to a replica that was behind: by writing it anew, or by deleting once more."""
    user = trained_user(service)
    vector = await vector_of(service, user)
    await changed(service, "DELETE", f"/users/{user}", 204)

    async def forget_it() -> None:
        u_1D = np.frombuffer(vector, dtype="<f2")[None]
        await service.parts.ingest.vectors.put_users(in_service(service), [user], u_1D)
        await service.parts.ingest.graph.add_users([user])
        await service.parts.ingest.graph.add_follows([(user, "u0002")])

    await forget_it()
    assert await places(stores, vector)
    await rebuild_redis(stores.models_dir, opened(service), silent)
    assert not await beside_models(stores, user)
    await forget_it()
    await changed(service, "DELETE", f"/users/{user}", 204)
    assert not await beside_models(stores, user)


async def test_a_redis_that_forgot_a_deleted_tweet_is_mended(service: Service, stores: StoreSettings) -> None:
    tweet = (await service.post(png("ivory"), author_id="u0002")).json()["tweet_id"]
    vectors, dim = service.parts.ingest.vectors, service.parts.ingest.models.required().manifest.dim
    await changed(service, "DELETE", f"/tweets/{tweet}", 204)
    await vectors.put_tweets(in_service(service), [tweet], np.zeros((1, dim), dtype=np.float16))
    assert await disagreements(stores) != []
    await rebuild_redis(stores.models_dir, opened(service), silent)
    assert await disagreements(stores) == []


async def test_a_version_serves_on_whose_first_users_are_deleted(service: Service, stores: StoreSettings) -> None:
    for user in service.parts.ingest.models.required().artifact.user_ids[:12]:
        await changed(service, "DELETE", f"/users/{user}", 204)
    await changed(service, "POST", f"/models/{in_service(service)}:activate", 200)
    await asyncio.to_thread(
        with_stores, stores, lambda found: activate_version(in_service(service), found, stores.models_dir)
    )


async def test_users_who_leave_while_others_refer_to_them(service: Service, stores: StoreSettings) -> None:
    """Deleted at once with what others do to them, by many: no request fails, and nothing is left."""
    user = trained_user(service)
    mine = (await make_busy(service, user))[0]
    fans = [await new_user(service, f"fan-{number}") for number in range(20)]

    async def refer(fan: str) -> list[int]:
        urls = f"/users/{fan}/followees/{user}", f"/users/{fan}/retweets/{mine}", f"/users/{fan}/hidden/{mine}"
        return [(await service.client.put(url)).status_code for url in urls]

    async def leave() -> list[int]:
        return [(await service.client.delete(f"/users/{user}")).status_code]

    came = await asyncio.gather(*map(refer, fans[:10]), leave(), leave(), *map(refer, fans[10:]))
    assert {status for statuses in came for status in statuses} <= {201, 202, 204, 404}
    await until(lambda: gone(service, user), 20)
    assert not await beside_models(stores, user)
    assert await disagreements(stores) == []


async def test_the_next_model_knows_nothing_of_a_deleted_user(service: Service, stores: StoreSettings) -> None:
    """Also where the training began before."""
    user, last = service.parts.ingest.models.required().artifact.user_ids[:2]
    await changed(service, "DELETE", f"/users/{user}", 204)
    report = await asyncio.to_thread(retrain, SMALL, stores, silent, Gate(worse_by=1), dry_run=True)
    assert user not in artifact.load(report.folder).trained_users
    await changed(service, "DELETE", f"/users/{last}", 204)
    assert last in artifact.load(report.folder).trained_users
    await asyncio.to_thread(publish_folder, report.folder, stores, silent)
    for named in (user, last):
        assert await places(stores, named.encode()) == []
    exported = artifact.load(report.folder)
    assert last not in exported.trained_users
    assert exported.user_vectors_UD.shape == (len(exported.user_ids), SMALL.dim)
