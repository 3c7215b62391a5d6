"""A backup has all of one moment, and is whole or none."""

import asyncio
import gzip
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from contract import artifact
from contract.blobs import BlobStore, blob_key
from contract.environment import StoreSettings
from contract.ids import id_hash
from contract.progress import silent
from contract.tables import Base, DeletedUser, ModelVersion, User
from tests.conftest import copied_stores, fresh_stores
from tests.integration.backups import WORDS, command, first, put_back, run_sql, take
from tests.integration.running import changed, serving
from tests.unit.test_import_rejects import stored
from training import backup, backup_pictures
from training.backup import back_up
from training.backup_files import Place, packed, unpacked
from training.backup_pictures import copy_picture
from training.errors import BackupFailed
from training.redaction import take_out
from training.restore import restore
from training.stores import one_at_a_time, with_sql_and_pictures


@pytest.mark.parametrize("url", ["memory://backups/monday", "simplecache::memory://backups/tuesday"])
def test_any_url_of_fsspec_will_do(trained_embedded: StoreSettings, url: str) -> None:
    take(trained_embedded, url)
    with fresh_stores("embedded") as bare:
        put_back(bare, url)
        assert stored(bare) == stored(trained_embedded)


def test_a_url_that_cannot_be_used_is_named_without_its_password(trained_embedded: StoreSettings) -> None:
    status, said = command(trained_embedded, "backup", "nosuch://u:hushhush@h/b")
    assert (status, said[:57]) == (1, "error: PLACE nosuch://u:***@h/b cannot be used: Protocol ")


@pytest.mark.parametrize("file", ["", "images"])
def test_a_place_that_is_no_folder_is_named(trained_embedded: StoreSettings, tmp_path: Path, file: str) -> None:
    path = tmp_path / "place" / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    status, said = command(trained_embedded, "backup", str(tmp_path / "place"))
    assert (status, f"error: PLACE {tmp_path}/place cannot be used" in said) == (1, True), said


def test_a_backup_needs_no_redis(trained_embedded: StoreSettings, tmp_path: Path) -> None:
    away = trained_embedded.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    assert command(away, "backup", str(tmp_path / "made"))[0] == 0


def test_a_new_folder_is_its_owner_s_alone(made: Path) -> None:
    assert made.stat().st_mode & 0o777 == 0o700
    assert not [path for path in made.rglob("*") if path.is_file() and "partial" in path.name]


def test_an_interrupted_backup_goes_on(trained_embedded: StoreSettings, tmp_path: Path, monkeypatch: Any) -> None:
    put, puts = BlobStore.put, 0

    def breaks_off(blobs: BlobStore, data: bytes) -> str:
        nonlocal puts
        puts += 1
        if puts > 20:
            raise OSError("the network is gone")
        return put(blobs, data)

    with monkeypatch.context() as patch:
        patch.setattr(BlobStore, "put", breaks_off)
        with pytest.raises(OSError, match="the network is gone"):
            take(trained_embedded, tmp_path / "late")
    with fresh_stores("embedded") as bare:
        with pytest.raises(BackupFailed, match="no whole backup"):
            put_back(bare, tmp_path / "late")
        take(trained_embedded, tmp_path / "late")
        put_back(bare, tmp_path / "late")
        assert stored(bare) == stored(trained_embedded)


def test_two_backups_to_one_place_do_not_mix(
    trained_embedded: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is made while the first one runs, and has another user."""
    real, place = backup.copy_tables, tmp_path / "place"

    async def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(backup, "copy_tables", real)
        await run_sql(stores, insert(User).values(user_id="zoe", created_at=datetime.now(UTC)))
        await asyncio.to_thread(take, stores, place)
        return await real(*arguments)

    with copied_stores(trained_embedded) as stores, fresh_stores("embedded") as bare:
        monkeypatch.setattr(backup, "copy_tables", meanwhile)
        with pytest.raises(BackupFailed, match="name a new place"):
            take(stores, place)
        put_back(bare, place)
        assert stored(bare) == stored(stores)


@pytest.mark.parametrize("moment", ["snapshot", "copy_pictures"])
def test_the_model_that_serves_is_in_it_whenever_another_one_is_activated(
    trained_embedded: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Right before and right after SQL is read."""
    real: Callable[..., Any] = getattr(backup, moment)

    def meanwhile(*arguments: Any) -> Any:
        now = datetime.now(UTC)
        row = insert(ModelVersion).values(version="another", created_at=now, activated_at=now, metrics={})
        with ThreadPoolExecutor() as threads:
            threads.submit(asyncio.run, run_sql(stores, row)).result()
        return real(*arguments)

    with copied_stores(trained_embedded) as stores, fresh_stores("embedded") as bare:
        (serves,) = stores.models_dir.iterdir()
        shutil.copytree(serves, stores.models_dir / "another")
        monkeypatch.setattr(backup, moment, meanwhile)
        take(stores, tmp_path / "made")
        put_back(bare, tmp_path / "made")
        active = max(stored(bare)["model_versions"], key=lambda row: row[2])[0]
        assert active == ("another" if moment == "snapshot" else serves.name)
        assert (bare.models_dir / active).is_dir()


def test_no_transaction_is_open_while_pictures_are_copied(
    trained_embedded: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_use: list[int] = []

    def watched(engine: AsyncEngine) -> None:
        def copied(*arguments: Any) -> bool:
            in_use.append(engine.pool.checkedout())  # type: ignore[attr-defined] # a queue has it
            return copy_picture(*arguments)

        monkeypatch.setattr(backup_pictures, "copy_picture", copied)

    def backed_up(engine: AsyncEngine, blobs: BlobStore) -> Any:
        watched(engine)
        return back_up(place, trained_embedded.models_dir, engine, blobs, silent)

    def restored(engine: AsyncEngine, blobs: BlobStore) -> Any:
        watched(engine)
        return restore(place, bare.models_dir, engine, blobs, silent)

    place = Place(str(tmp_path / "made"))
    with fresh_stores("embedded") as bare:
        with_sql_and_pictures(trained_embedded, backed_up)
        with_sql_and_pictures(bare, restored)
    assert len(in_use) >= 100
    assert set(in_use) == {0}


def test_lost_pictures_are_no_backup(
    trained_embedded: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many: SQL takes so many ids at a time."""
    monkeypatch.setattr(backup, "_IDS_AT_A_TIME", 7)
    elsewhere = trained_embedded.model_copy(update={"blob_url": f"file://{tmp_path}/elsewhere"})
    with pytest.raises(BackupFailed, match=r"the pictures of 80 tweets .* as of t\d+: set BLOB_URL"):
        take(elsewhere, tmp_path / "lost")


def test_what_is_deleted_meanwhile_is_left_out(
    lived_in: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tweet, with all that refers to it."""
    real = backup.copy_pictures

    async def deleted_meanwhile(*arguments: Any) -> set[str]:
        headers = {"authorization": "Bearer root"}
        async with serving(lived_in, api_key="root") as service:
            for tweet in ("kept", "hidden"):
                await changed(service, "DELETE", f"/tweets/{tweet}-tweet", 204, headers=headers)
        return await real(*arguments)

    monkeypatch.setattr(backup, "copy_pictures", deleted_meanwhile)
    status, said = command(lived_in, "backup", str(tmp_path / "made"))
    assert (status, "LEFT OUT 2 tweets that were deleted meanwhile" in said) == (0, True), said
    files = [path for path in (tmp_path / "made").rglob("*") if path.suffix == ".gz"]
    assert not [path for path in files if b"#caf" in gzip.decompress(path.read_bytes())]
    with fresh_stores("embedded") as bare:
        put_back(bare, tmp_path / "made")
        assert stored(bare) == stored(lived_in)


def test_deleted_users_are_taken_out_of_the_models_first(trained_embedded: StoreSettings, tmp_path: Path) -> None:
    with copied_stores(trained_embedded) as stores:
        user = json.loads(first(stores.models_dir, "*/user_ids.json").read_text("utf-8"))[0]
        now = datetime.now(UTC)
        asyncio.run(run_sql(stores, insert(DeletedUser).values(user_sha256=id_hash(user), deleted_at=now)))
        assert command(stores, "backup", str(tmp_path / "made"))[0] == 0
    assert user not in json.loads(first(tmp_path / "made", "models/*/user_ids.json").read_text("utf-8"))


@pytest.mark.parametrize("damaged", ["source", "target", "neither", "both"])
def test_a_damaged_picture_is_replaced_and_never_copied(tmp_path: Path, damaged: str) -> None:
    data, key = b"picture", blob_key(b"picture")
    source, target = (BlobStore(str(tmp_path / name)) for name in ("source", "target"))
    for name, blobs in (("source", source), ("target", target)):
        blobs.put(data)
        if damaged in (name, "both"):
            (tmp_path / name / key[:2] / key).write_bytes(b"pict")
    assert copy_picture(key, source, target) == (damaged != "both")
    assert target.get(key) == (b"pict" if damaged == "both" else data)


def swap_when(file: str, times: int, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """So many times the user files of a model are replaced by those without its first user, before `file` is copied."""
    swapped: list[Path] = []
    put = Place.put

    def after_a_swap(place: Place, name: str, path: Path) -> str:
        if path.name == file and len(swapped) < times:
            user = artifact.load(path.parent).user_ids[0]
            take_out(path.parent, {id_hash(user)})
            swapped.append(path)
        return put(place, name, path)

    monkeypatch.setattr(Place, "put", after_a_swap)
    return swapped


@pytest.mark.parametrize("file", ["encoder.onnx", "ranker.onnx", "user_vectors.npy"])
def test_a_model_that_changes_while_it_is_copied_is_copied_again(
    trained_embedded: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    with copied_stores(trained_embedded) as stores, fresh_stores("embedded") as bare:
        swapped = swap_when(file, 1, monkeypatch)
        take(stores, tmp_path / "made")
        assert len(swapped) == 1
        put_back(bare, tmp_path / "made")
        (model,) = bare.models_dir.iterdir()
        assert artifact.load(model).user_ids == artifact.load(stores.models_dir / model.name).user_ids


def test_a_model_that_changes_all_the_while_is_no_backup(
    trained_embedded: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with copied_stores(trained_embedded) as stores:
        swap_when("golden.npz", 2, monkeypatch)
        with pytest.raises(BackupFailed, match=r"model [\w-]+ changed meanwhile: run the same command again"):
            take(stores, tmp_path / "made")
        assert not (tmp_path / "made" / "backup.json").exists()
        take(stores, tmp_path / "made")


def test_another_backup_is_refused_before_its_models_are_overwritten(
    trained_embedded: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, place = backup.copy_pictures, tmp_path / "made"

    async def meanwhile(*arguments: Any) -> set[str]:
        (place / "backup.json").write_text("{}", "utf-8")
        return await real(*arguments)

    monkeypatch.setattr(backup, "copy_pictures", meanwhile)
    with pytest.raises(BackupFailed, match="name a new place"):
        take(trained_embedded, place)
    assert not (place / "models").exists()


def test_a_backup_waits_for_no_retrain(trained_embedded: StoreSettings, tmp_path: Path) -> None:
    """Even where it takes deleted users out of the models first."""
    with copied_stores(trained_embedded) as stores:
        user = json.loads(first(stores.models_dir, "*/user_ids.json").read_text("utf-8"))[0]
        now = datetime.now(UTC)
        asyncio.run(run_sql(stores, insert(DeletedUser).values(user_sha256=id_hash(user), deleted_at=now)))
        with one_at_a_time(stores.var_dir / "runs"):
            status, said = command(stores, "backup", str(tmp_path / "made"))
        assert status == 0, said


def test_words_with_any_line_end_come_back() -> None:
    table = Base.metadata.tables["hides"]
    row = {"user_id": WORDS, "tweet_id": "t1", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
    assert list(unpacked(table, packed(table, [row, row]))) == [row, row]
    assert list(unpacked(table, packed(table, []))) == []
