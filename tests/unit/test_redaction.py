"""Deleted users, taken out of exported models, whatever ends it half-way."""

import asyncio
import fcntl
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert

from contract import artifact
from contract.environment import StoreSettings
from contract.filesystems import on_disk
from contract.ids import id_hash
from contract.model_folders import LOCK, ModelFolders
from contract.progress import silent
from contract.tables import DeletedUser, create_engine
from tests.conftest import SMALL, copied_stores, fresh_stores
from tests.spoiling import name_anew
from training import retrain as retraining
from training.__main__ import main
from training.errors import GateClosed
from training.redaction import Redacted, redact_all


@pytest.fixture
def stores(trained_embedded: StoreSettings) -> Iterator[StoreSettings]:
    """With one exported model, of whose users the first is deleted."""
    with fresh_stores("embedded") as empty:
        (model,) = trained_embedded.models_dir.iterdir()
        for name in (model.name, "again"):
            shutil.copytree(model, empty.models_dir / name)
        asyncio.run(delete(artifact.load(model).user_ids[0], empty))
        yield empty


async def delete(user: str, stores: StoreSettings) -> None:
    engine = create_engine(stores.sqlalchemy_url)
    async with engine.begin() as connection:
        deleted = {"user_sha256": id_hash(user), "deleted_at": datetime.now(UTC)}
        await connection.execute(insert(DeletedUser).values(deleted))
    await engine.dispose()


def redacted(stores: StoreSettings) -> Redacted:
    async def run() -> Redacted:
        engine = create_engine(stores.sqlalchemy_url)
        try:
            return await redact_all(ModelFolders(stores.models_dir), engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def folders(stores: StoreSettings) -> list[Path]:
    """All that is there but the lock."""
    return sorted(path for path in stores.models_dir.iterdir() if path.name != LOCK)


def test_only_the_deleted_user_goes(stores: StoreSettings) -> None:
    before = {folder.name: artifact.load(folder) for folder in folders(stores)}
    assert redacted(stores) == Redacted(sorted(before), [])
    for name, was in before.items():
        now = artifact.load(stores.models_dir / name)
        assert now.user_ids == was.user_ids[1:]
        assert (now.user_vectors_UD == was.user_vectors_UD[1:]).all()
        changed = {"user_ids.json", "user_vectors.npy"}
        assert {file for file, digest in now.manifest.files.items() if digest != was.manifest.files[file]} == changed
        assert now.manifest.model_copy(update={"files": was.manifest.files}) == was.manifest
    assert {folder.name for folder in folders(stores)} == before.keys()
    assert redacted(stores) == Redacted([], [])


def test_nothing_is_written_where_there_is_nothing_to_do(trained_embedded: StoreSettings) -> None:
    assert redacted(trained_embedded) == Redacted([], [])
    assert LOCK not in {path.name for path in trained_embedded.models_dir.iterdir()}


def killed(stores: StoreSettings, at: int) -> None:
    """At the first rename (1), at the second (2), or before what was replaced is removed (3)."""
    calls = 0
    rename, remove = Path.rename, shutil.rmtree

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt

    def killed_rename(path: Path, target: Path) -> Path:
        count()
        return rename(path, target)

    def killed_remove(path: Path) -> None:
        count()
        remove(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", killed_rename)
        patch.setattr(shutil, "rmtree", killed_remove)
        with pytest.raises(KeyboardInterrupt):
            redacted(stores)


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("models", [1, 2])
def test_what_a_kill_left_is_finished(stores: StoreSettings, at: int, models: int) -> None:
    """Also where no other folder names a deleted user."""
    for folder in folders(stores)[models:]:
        shutil.rmtree(folder)
    names = [folder.name for folder in folders(stores)]
    user = artifact.load(folders(stores)[0]).user_ids[0]
    killed(stores, at)
    redacted(stores)
    assert [folder.name for folder in folders(stores)] == names
    for folder in folders(stores):
        assert user not in artifact.load(folder).user_ids
    assert redacted(stores) == Redacted([], [])


@pytest.mark.parametrize("at", [1, 3])
def test_a_version_that_is_deleted_after_a_kill_stays_deleted(stores: StoreSettings, at: int) -> None:
    first, second = folders(stores)
    killed(stores, at)
    shutil.rmtree(first)
    assert redacted(stores) == Redacted([second.name], [])
    assert folders(stores) == [second]


def test_all_is_on_the_disk_before_the_original_goes(stores: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not leave empty files and no original."""
    done: list[str] = []
    rename = Path.rename

    def noted_rename(path: Path, target: Path) -> Path:
        if target.name.endswith(".old"):
            draft = target.with_suffix(".redacted")
            assert {str(draft), *map(str, draft.iterdir())} <= set(done)
        return rename(path, target)

    def noted_on_disk(fs: Any, path: str) -> None:
        done.append(path)
        on_disk(fs, path)

    monkeypatch.setattr(Path, "rename", noted_rename)
    monkeypatch.setattr("training.redaction.on_disk", noted_on_disk)
    assert len(redacted(stores).versions) == 2
    assert done[-1] == str(stores.models_dir)


def test_another_redaction_of_the_same_folder_is_waited_for(stores: StoreSettings) -> None:
    with ThreadPoolExecutor() as threads:
        with (stores.models_dir / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            waits = threads.submit(redacted, stores)
            with pytest.raises(TookTooLong):
                waits.result(0.5)
            assert len(list(stores.models_dir.iterdir())) == 3
        assert len(waits.result(30).versions) == 2


def no_encoder(folder: Path) -> None:
    (folder / "encoder.onnx").write_bytes(b"")


def no_ids(folder: Path) -> None:
    (folder / "user_ids.json").write_bytes(b"")


def half_of_the_ids(folder: Path) -> None:
    """As its manifest says."""
    ids = (folder / "user_ids.json").read_bytes()
    (folder / "user_ids.json").write_bytes(ids[: len(ids) // 2])
    name_anew(folder, "user_ids.json")


def ids_that_are_no_file(folder: Path) -> None:
    (folder / "user_ids.json").unlink()
    (folder / "user_ids.json").mkdir()


def golden_of_a_user(folder: Path) -> None:
    """As versions were exported before users could be deleted."""
    golden = {**np.load(folder / "golden.npz"), "followee_vectors": np.load(folder / "user_vectors.npy")[[7, 0, 8]]}
    np.savez(folder / "golden.npz", **golden)
    name_anew(folder, "golden.npz")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_encoder, "encoder.onnx is not the file"),
        (no_ids, "user_ids.json is not the file"),
        (half_of_the_ids, "mend that"),
        (ids_that_are_no_file, "user_ids.json is missing"),
        (golden_of_a_user, "golden.npz has a deleted user's vector: run `python -m training retrain`"),
    ],
)
def test_a_folder_that_they_cannot_be_taken_out_of_is_named_and_left(
    stores: StoreSettings,
    spoil: Any,
    said: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the other one is redacted."""
    again = stores.models_dir / "again"
    spoil(again)
    before = {path.name: path.stat().st_mtime_ns for path in again.iterdir()}
    (other,) = [folder.name for folder in folders(stores) if folder != again]
    for name, value in stores.model_dump(exclude_none=True).items():
        monkeypatch.setenv(name.upper(), str(value))
    assert main(["models", "redact"]) == 1
    told = capsys.readouterr()
    assert f"deleted users were taken out of {other} in" in told.out
    assert told.err.startswith("error: again may have deleted users still")
    assert f"{again} may have deleted users, who cannot be taken out" in caplog.text
    assert said in caplog.text
    assert "run `python -m training models delete again`" in caplog.text
    assert {path.name: path.stat().st_mtime_ns for path in again.iterdir()} == before
    assert len(folders(stores)) == 2


def test_a_disk_that_is_full_loses_no_model(stores: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even between the renames."""
    rename = Path.rename
    fails = iter([False, True])

    def failing_rename(path: Path, target: Path) -> Path:
        if next(fails, False):
            raise OSError("no space left")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing_rename)
    names = [folder.name for folder in folders(stores)]
    assert redacted(stores) == Redacted(names[1:], names[:1])
    assert [folder.name for folder in folders(stores)] == names
    for folder in folders(stores):
        artifact.load(folder)


def test_a_retrain_that_publishes_nothing_takes_them_out_too(
    trained_embedded: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: Any) -> None:
        raise GateClosed("worse")

    monkeypatch.setattr(retraining, "train_and_export", closed)
    with copied_stores(trained_embedded) as stores:
        (folder,) = folders(stores)
        user = artifact.load(folder).user_ids[0]
        asyncio.run(delete(user, stores))
        with pytest.raises(GateClosed):
            retraining.retrain(SMALL.model_copy(update={"seed": 9}), stores, silent)
        assert user not in artifact.load(folder).user_ids
