"""Deleted users, taken out of exported models, whatever ends it half-way."""

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from contract import artifact
from contract.environment import StoreSettings
from contract.ids import id_hash
from contract.tables import DeletedUser, create_engine
from tests.conftest import fresh_stores
from training.redaction import any_to_redact, redact


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


async def redacted(stores: StoreSettings) -> tuple[bool, list[str]]:
    """Whether there is something to redact, and what was."""
    engine = create_engine(stores.sqlalchemy_url)
    try:
        return await any_to_redact(stores.models_dir, engine), await redact(stores.models_dir, engine)
    finally:
        await engine.dispose()


def test_only_the_deleted_user_goes(stores: StoreSettings) -> None:
    before = {folder.name: artifact.load(folder) for folder in stores.models_dir.iterdir()}
    assert asyncio.run(redacted(stores)) == (True, sorted(before))
    for name, was in before.items():
        now = artifact.load(stores.models_dir / name)
        assert now.user_ids == was.user_ids[1:]
        assert (now.user_vectors_UD == was.user_vectors_UD[1:]).all()
        changed = {"user_ids.json", "user_vectors.npy"}
        assert {file for file, digest in now.manifest.files.items() if digest != was.manifest.files[file]} == changed
        assert now.manifest.model_copy(update={"files": was.manifest.files}) == was.manifest
    assert {folder.name for folder in stores.models_dir.iterdir()} == before.keys()
    assert asyncio.run(redacted(stores)) == (False, [])


@pytest.mark.parametrize("at", [1, 2, 3])
def test_what_a_kill_left_is_finished(stores: StoreSettings, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """At the first rename, at the second, and before what was replaced is removed."""
    calls = 0
    rename, remove = Path.rename, shutil.rmtree

    def killed() -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt

    def killed_rename(path: Path, target: Path) -> Path:
        killed()
        return rename(path, target)

    def killed_remove(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            killed()
        remove(path, ignore_errors)

    monkeypatch.setattr(Path, "rename", killed_rename)
    monkeypatch.setattr(shutil, "rmtree", killed_remove)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(redacted(stores))
    monkeypatch.undo()
    asyncio.run(redacted(stores))
    folders = sorted(stores.models_dir.iterdir())
    assert [folder.name for folder in folders if folder.name.startswith(".")] == []
    assert len(folders) == 2
    for folder in folders:
        assert "u0001" not in artifact.load(folder).user_ids
    assert asyncio.run(redacted(stores)) == (False, [])


def test_a_folder_that_cannot_be_loaded_is_said_and_left(
    stores: StoreSettings, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = stores.models_dir / "again" / "encoder.onnx"
    damaged.write_bytes(b"")
    was, whole = asyncio.run(redacted(stores))
    assert was
    assert len(whole) == 1
    assert "again names deleted users, and cannot be loaded" in caplog.text
    assert damaged.read_bytes() == b""
