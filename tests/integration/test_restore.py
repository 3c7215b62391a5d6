"""A backup comes back into empty stores, whole or not at all."""

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError
from sqlalchemy import insert, update

from contract.environment import StoreSettings
from contract.tables import Base, ModelVersion, User
from tests.agreement import disagreements
from tests.conftest import fresh_stores, import_into
from tests.integration.backups import command, first, put_back, run_sql, take
from tests.integration.running import Service, serving
from tests.unit.test_import_rejects import stored
from training import backup_pictures, restore
from training.backup import Backup
from training.backup_files import Place
from training.commands import backups as backup_commands
from training.errors import BackupFailed
from training.restore import checked


async def answers(stores: StoreSettings) -> list[Any]:
    async with serving(stores, api_key="root") as service:
        return [await recommended(service, f"u{n:04}") for n in range(1, 31)]


async def recommended(service: Service, user: str) -> Any:
    headers = {"authorization": "Bearer root"}
    answer = await service.client.get(f"/users/{user}/recommendations", params={"k": 20}, headers=headers)
    body = answer.json()
    del body["next_cursor"]
    return body


def test_a_bare_machine_answers_the_same(lived_in: StoreSettings, tmp_path: Path) -> None:
    """From either kind of stores to the other."""
    before = asyncio.run(answers(lived_in)), stored(lived_in)
    with fresh_stores("servers") as servers, fresh_stores("embedded") as embedded:
        for place, source, bare in (("there", lived_in, servers), ("back", servers, embedded)):
            status, said = command(source, "backup", str(tmp_path / place))
            assert (status, "backed up" in said) == (0, True), said
            status, said = command(bare, "restore", str(tmp_path / place))
            assert (status, "restored" in said) == (0, True), said
            assert (asyncio.run(answers(bare)), stored(bare)) == before
            assert asyncio.run(disagreements(bare)) == []


def test_what_a_restore_undoes_is_said(lived_in: StoreSettings, made: Path) -> None:
    status, said = command(lived_in, "backup", str(made))
    assert (status, "name a new place" in said) == (1, True)
    with fresh_stores("embedded") as bare:
        take(lived_in, made.with_name("lived"))
        _, said = command(bare, "restore", str(made.with_name("lived")))
    assert f"All is as of {datetime.now(UTC):%Y-%m-%d}" in said
    assert "1 keys are valid: revoke again those that were revoked since (`python -m service keys list`)" in said
    assert "Users and tweets that were deleted since are back: delete them again" in said


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("backup.json", "no whole backup"),
        ("tables/tweets-*.gz", "is missing"),
        ("images/*/*", "missing or damaged"),
        ("models/*/encoder.onnx", r"made: models/[\w-]+/encoder.onnx .*the model is damaged: use another backup"),
        ("models/*/manifest.json", r"made: models/[\w-]+/manifest.json.*the model is damaged: use another backup"),
    ],
)
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"{}" + path.read_bytes()[2:])])
def test_what_is_missing_or_damaged_is_named_and_nothing_is_half_restored(
    made: Path, pattern: str, said: str, spoil: Any
) -> None:
    spoil(first(made, pattern))
    with fresh_stores("embedded") as bare:
        with pytest.raises(BackupFailed, match=said if "models" in pattern else rf"{said}|SHA-256|cannot be read"):
            put_back(bare, made)
        assert not any(stored(bare).values())
        whole = [path for path in bare.models_dir.glob("*") if not path.name.startswith(".")]
        assert not (whole and "models" in pattern)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("schema_revision", "0001", "the release that made it"),
        ("models", ["../../elsewhere"], r"backup.json cannot be read \(models: 0: .*\): use another backup"),
        ("models", ["20200101T000000Z-0"], r"models/20200101T000000Z-0/manifest.json is missing"),
    ],
)
def test_a_manifest_that_says_too_much_is_refused(made: Path, field: str, value: Any, said: str) -> None:
    manifest = json.loads((made / "backup.json").read_text("utf-8"))
    (made / "backup.json").write_text(json.dumps(manifest | {field: value}))
    with fresh_stores("embedded") as bare, pytest.raises(BackupFailed, match=said):
        put_back(bare, made)


def test_a_damaged_model_that_is_there_already_is_named(trained_embedded: StoreSettings, made: Path) -> None:
    with fresh_stores("embedded") as bare:
        shutil.copytree(trained_embedded.models_dir, bare.models_dir)
        first(bare.models_dir, "*/encoder.onnx").write_bytes(b"half")
        with pytest.raises(BackupFailed, match=f"{bare.models_dir}/.*encoder.onnx .*damaged: remove it, and restore"):
            put_back(bare, made)


def breaks_off(*_: Any) -> Any:
    raise RedisError("Redis is gone")


def breaks_off_in_the_last_table(place: Place, name: str, made: Backup) -> bytes:
    return breaks_off() if "tweet_vectors" in name else checked(place, name, made)


@pytest.mark.parametrize(
    ("module", "broken", "breaks", "restored"),
    [
        (backup_pictures, "copy_picture", breaks_off, False),
        (restore, "checked", breaks_off_in_the_last_table, False),
        (backup_commands, "rebuild_redis", breaks_off, True),
    ],
)
def test_an_interrupted_restore_goes_on(
    lived_in: StoreSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    broken: str,
    breaks: Any,
    restored: bool,
) -> None:
    """Before SQL is written, and after."""
    older = datetime(2020, 1, 1, tzinfo=UTC)
    asyncio.run(
        run_sql(
            lived_in, insert(ModelVersion).values(version="older", created_at=older, activated_at=older, metrics={})
        )
    )
    take(lived_in, tmp_path / "made")
    with fresh_stores("embedded") as bare:
        with monkeypatch.context() as patch:
            patch.setattr(module, broken, breaks)
            status, said = command(bare, "restore", str(tmp_path / "made"))
        assert (status, said.splitlines()[-1]) == (
            1,
            "error: Redis failed: Redis is gone: check REDIS_URL, then run the same command again",
        )
        assert any(stored(bare).values()) is restored
        status, said = command(bare, "restore", str(tmp_path / "made"))
        assert (status, "SQL has as many rows already and was left as it is" in said) == (0, restored), said
        assert "NOT WRITTEN to Redis: older (" in said
        assert stored(bare) == stored(lived_in)
        assert asyncio.run(disagreements(bare)) == []


def test_a_database_with_other_rows_is_not_written_to(made: Path) -> None:
    with fresh_stores("embedded") as bare:
        put_back(bare, made)
        asyncio.run(run_sql(bare, insert(User).values(user_id="zoe", created_at=datetime.now(UTC))))
        before = stored(bare)
        with pytest.raises(BackupFailed, match=r"61 users\): restore into an empty one"):
            put_back(bare, made)
        assert stored(bare) == before


def test_rows_that_changed_since_are_not_said_to_be_restored(made: Path) -> None:
    """As many as the backup has: they are left as they are."""
    users = Base.metadata.tables["users"]
    later = datetime(2030, 1, 1, tzinfo=UTC)
    with fresh_stores("embedded") as bare:
        status, said = command(bare, "restore", str(made))
        assert (status, "restored 60 users" in said, "All is as of" in said) == (0, True, True), said
        asyncio.run(run_sql(bare, update(users).values(created_at=later)))
        before = stored(bare)
        status, said = command(bare, "restore", str(made))
        assert (status, "restored 60 users" in said, "All is as of" in said) == (0, False, False), said
        assert "SQL has as many rows already and was left as it is" in said
        assert stored(bare) == before


@pytest.mark.parametrize("kind", ["embedded", "servers"])
def test_a_service_that_writes_during_a_restore_ends_in_no_mix(
    made: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    real = restore.restore_pictures

    async def meanwhile(*arguments: Any) -> None:
        await real(*arguments)
        await run_sql(bare, insert(User).values(user_id="zoe", created_at=datetime.now(UTC)))

    monkeypatch.setattr(restore, "restore_pictures", meanwhile)
    with fresh_stores(kind) as bare:
        with pytest.raises(BackupFailed, match="got rows meanwhile: end the service"):
            put_back(bare, made)
        assert {table: len(rows) for table, rows in stored(bare).items() if rows} == {"users": 1}


def test_a_network_without_a_model_is_restored(tiny_network: Path, tmp_path: Path) -> None:
    with fresh_stores("embedded") as stores, fresh_stores("embedded") as bare:
        import_into(stores, tiny_network)
        assert command(stores, "backup", str(tmp_path / "plain"))[0] == 0
        status, said = command(bare, "restore", str(tmp_path / "plain"))
        assert (status, "models: none" in said) == (0, True), said
        assert stored(bare) == stored(stores)
