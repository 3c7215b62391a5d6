"""A backup of one deployment, restored on a bare machine, gives the same recommendations."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contract.blobs import BlobStore
from contract.environment import StoreSettings
from contract.progress import silent
from contract.tables import Base, create_engine
from service.keys import create_key
from tests.agreement import disagreements
from tests.conftest import KINDS, ROOT, copied_stores, fresh_stores, import_into
from tests.integration.running import Service, changed, new_user, png, serving
from tests.unit.test_import_rejects import stored
from training import backup
from training.backup import Backup, Place, back_up, restore
from training.errors import BackupFailed
from training.stores import with_stores

WORDS = "Two\u2028lines, \x85 and a \u202e sign. #caf\u00e9 \U0001f30a"


@pytest.fixture(params=KINDS)
def lived_in(request: pytest.FixtureRequest) -> Iterator[StoreSettings]:
    """Stores of a deployment with a bit of everything."""
    with copied_stores(request.getfixturevalue(f"trained_{request.param}")) as stores:
        asyncio.run(live_in(stores))
        yield stores


async def live_in(stores: StoreSettings) -> None:
    async with serving(stores) as service:
        await new_user(service, "lives")
        for tweet in ("kept", "hidden", "deleted"):
            posted = await service.post(png("teal"), author_id="lives", tweet_id=f"{tweet}-tweet", text=WORDS)
            assert posted.status_code == 201
        await changed(service, "PUT", "/tweets/hidden-tweet/hidden", 204)
        await changed(service, "DELETE", "/tweets/deleted-tweet", 204)
        await changed(service, "PUT", "/users/u0001/followees/lives", 201)
        await changed(service, "PUT", "/users/u0002/hidden/kept-tweet", 201)
        await changed(service, "PUT", "/users/u0003/retweets/kept-tweet", 201)
    engine = create_engine(stores.sqlalchemy_url)
    await create_key(engine, "an app", ["read"], per_minute=5)
    await engine.dispose()


def command(stores: StoreSettings, *arguments: str) -> subprocess.CompletedProcess[str]:
    of_stores = {name.upper(): str(value) for name, value in stores.model_dump().items() if value is not None}
    environment = {name: value for name, value in os.environ.items() if name.lower() not in StoreSettings.model_fields}
    line = [sys.executable, "-m", "training", *arguments]
    return subprocess.run(line, cwd=ROOT, env=environment | of_stores, capture_output=True, text=True, check=False)


async def answers(stores: StoreSettings) -> list[Any]:
    async with serving(stores, api_key="root") as service:
        return [await recommended(service, f"u{n:04}") for n in range(1, 31)]


async def recommended(service: Service, user: str) -> Any:
    headers = {"authorization": "Bearer root"}
    answer = await service.client.get(f"/users/{user}/recommendations", params={"k": 20}, headers=headers)
    body = answer.json()
    del body["next_cursor"]
    return body


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_machine_answers_the_same(lived_in: StoreSettings, kind: str, tmp_path: Path) -> None:
    """From either kind of stores to either."""
    before = asyncio.run(answers(lived_in)), stored(lived_in)
    done = command(lived_in, "backup", str(tmp_path / "backup"))
    assert (done.returncode, "backed up" in done.stdout) == (0, True), done.stderr
    with fresh_stores(kind) as bare:
        done = command(bare, "restore", str(tmp_path / "backup"))
        assert (done.returncode, "restored" in done.stdout) == (0, True), done.stderr
        assert (asyncio.run(answers(bare)), stored(bare)) == before
        assert asyncio.run(disagreements(bare)) == []
        again = command(bare, "restore", str(tmp_path / "backup"))
        assert (again.returncode, "restore into an empty one" in again.stderr) == (1, True)
        assert stored(bare) == before[1]
    again = command(lived_in, "backup", str(tmp_path / "backup"))
    assert (again.returncode, "name a new place" in again.stderr) == (1, True)


@pytest.fixture
def made(trained_embedded: StoreSettings, tmp_path: Path) -> Path:
    """A backup."""
    take(trained_embedded, tmp_path / "made")
    return tmp_path / "made"


def take(stores: StoreSettings, folder: Path) -> Backup:
    return with_stores(stores, lambda opened: back_up(Place(str(folder)), stores.models_dir, opened, silent))


def put_back(stores: StoreSettings, folder: Path) -> Backup:
    return with_stores(stores, lambda opened: restore(Place(str(folder)), stores.models_dir, opened, silent))


def test_any_url_of_fsspec_will_do(trained_embedded: StoreSettings) -> None:
    place = Place("memory://backups/monday")
    stores = trained_embedded
    with_stores(stores, lambda opened: back_up(place, stores.models_dir, opened, silent))
    with fresh_stores("embedded") as bare:
        with_stores(bare, lambda opened: restore(place, bare.models_dir, opened, silent))
        assert stored(bare) == stored(stores)


def first(folder: Path, pattern: str) -> Path:
    return next(path for path in sorted(folder.glob(pattern)) if path.is_file())


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("backup.json", "no whole backup"),
        ("tables/tweets-*.gz", "is missing"),
        ("images/*/*", "missing or damaged"),
        ("models/*/encoder.onnx", "encoder.onnx"),
    ],
)
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"{}" + path.read_bytes()[2:])])
def test_what_is_missing_or_damaged_is_named_and_nothing_is_half_restored(
    made: Path, pattern: str, said: str, spoil: Any
) -> None:
    spoil(first(made, pattern))
    with fresh_stores("embedded") as bare:
        with pytest.raises(Exception, match=rf"{said}|SHA-256|cannot be read"):
            put_back(bare, made)
        assert not any(stored(bare).values())
        whole = [path for path in bare.models_dir.glob("*") if not path.name.startswith(".")]
        assert not (whole and "models" in pattern)


def test_a_backup_of_another_schema_is_refused(made: Path) -> None:
    manifest = json.loads((made / "backup.json").read_text("utf-8"))
    (made / "backup.json").write_text(json.dumps(manifest | {"schema_revision": "0001"}))
    with fresh_stores("embedded") as bare, pytest.raises(BackupFailed, match="the release that made it"):
        put_back(bare, made)


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


def test_a_lost_picture_is_no_backup_and_a_deleted_one_is_left_out(
    trained_embedded: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with copied_stores(trained_embedded) as stores:
        picture = first(stores.var_dir / "images", "??/*")
        data = picture.read_bytes()
        picture.unlink()
        with pytest.raises(BackupFailed, match="lost or damaged"):
            take(stores, tmp_path / "lost")
        picture.write_bytes(data)
        real = backup.copy_pictures

        async def deleted_meanwhile(*arguments: Any) -> list[str]:
            async with serving(stores) as service:
                await changed(service, "DELETE", "/tweets/t0005", 204)
            return await real(*arguments)

        monkeypatch.setattr(backup, "copy_pictures", deleted_meanwhile)
        made = take(stores, tmp_path / "made")
        assert made.deleted_meanwhile == ["t0005"]
        with fresh_stores("embedded") as bare:
            put_back(bare, tmp_path / "made")
            rows = stored(bare)
            assert "t0005" not in {row[0] for row in rows["tweets"]}
            assert [row[0] for row in rows["deleted_tweets"]] == ["t0005"]


def test_a_network_without_a_model_is_restored(tiny_network: Path, tmp_path: Path) -> None:
    with fresh_stores("embedded") as stores, fresh_stores("embedded") as bare:
        import_into(stores, tiny_network)
        assert command(stores, "backup", str(tmp_path / "plain")).returncode == 0
        done = command(bare, "restore", str(tmp_path / "plain"))
        assert (done.returncode, "models: none" in done.stdout) == (0, True), done.stderr
        assert stored(bare) == stored(stores)


def test_words_with_any_line_end_come_back() -> None:
    table = Base.metadata.tables["hides"]
    row = {"user_id": WORDS, "tweet_id": "t1", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
    assert list(backup.unpacked(table, backup.packed(table, [row, row]))) == [row, row]
