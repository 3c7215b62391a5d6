"""Exported versions where all machines find them, and their copies on each."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contract import artifact
from contract.artifact import MANIFEST
from contract.errors import ArtifactInvalid, StoreUnavailable
from contract.filesystems import write_whole
from contract.ids import id_hash
from contract.model_folders import ModelFolders, alone
from contract.shared_models import SharedModels
from tests.conftest import SMALL, exported_model
from tests.object_store import ObjectStore, object_store
from training import redaction
from training.redaction import Redacted, take_out
from training.retention import FOLDERS, forget_shared


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


@pytest.fixture
def url(server: ObjectStore, request: pytest.FixtureRequest) -> str:
    """A folder of the test's own."""
    return server.url(f"models-{id_hash(request.node.name)[:8]}")


@pytest.fixture
def here(tiny_network: Path, tmp_path: Path, url: str) -> ModelFolders:
    """Of the machine that trains, with one version, which all machines find."""
    model = exported_model(tiny_network, SMALL)
    shutil.copytree(model, tmp_path / "here" / model.name)
    folders = ModelFolders(tmp_path / "here", SharedModels(url))
    folders.share(model.name)
    return folders


def name_of(folders: ModelFolders) -> str:
    (version,) = (path.name for path in folders.models_dir.glob("[!.]*"))
    return version


def another(tmp_path: Path, url: str, name: str = "there") -> ModelFolders:
    """Of a machine that serves."""
    return ModelFolders(tmp_path / "none", SharedModels(url), tmp_path / name)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def visible(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]


def fails_at(monkeypatch: pytest.MonkeyPatch, shared: SharedModels, method: str, nth: int) -> None:
    """The file system's method raises what ends a process, at its nth call."""
    real: Callable[..., Any] = getattr(shared._fs, method)
    calls = 0

    def failing(*more: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise KeyboardInterrupt
        return real(*more, **named)

    monkeypatch.setattr(shared._fs, method, failing)


def test_a_machine_without_the_folder_fetches_it(here: ModelFolders, tmp_path: Path, url: str) -> None:
    version, there = name_of(here), another(tmp_path, url)
    assert there.has(version)
    assert there.manifest(version) == here.manifest(version)
    assert not there.path(version).exists()
    folder = there.need(version)
    assert folder == tmp_path / "there" / version
    assert contents(folder) == contents(here.path(version))
    artifact.load(folder)
    assert there.need(version) == folder
    with pytest.raises(ArtifactInvalid, match=r"version other is not at s3://.* \(MODELS_URL\): run `python"):
        there.need("other")
    assert visible(tmp_path / "there") == [version]


def test_many_fetch_at_once(here: ModelFolders, tmp_path: Path, url: str) -> None:
    version = name_of(here)
    machines = [another(tmp_path, url, name) for name in ("a", "a", "a", "b", "b")]
    with ThreadPoolExecutor(5) as threads:
        folders = list(threads.map(lambda machine: machine.need(version), machines))
    for folder in folders:
        assert contents(folder) == contents(here.path(version))
    assert visible(tmp_path / "a") == visible(tmp_path / "b") == [version]


@pytest.mark.parametrize("nth", [1, 4])
def test_a_fetch_that_is_interrupted_leaves_nothing(
    here: ModelFolders, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    version, there = name_of(here), another(tmp_path, url)
    assert there.shared is not None
    with monkeypatch.context() as patch:
        fails_at(patch, there.shared, "get_file", nth)
        with pytest.raises(KeyboardInterrupt):
            there.need(version)
    assert visible(tmp_path / "there") == []
    (tmp_path / "there" / f".{version}.fetch").mkdir()  # of one that was killed
    assert contents(there.need(version)) == contents(here.path(version))
    assert visible(tmp_path / "there") == [version]


def test_what_is_damaged_there_is_not_taken(here: ModelFolders, tmp_path: Path, url: str) -> None:
    version, there = name_of(here), another(tmp_path, url)
    assert there.shared is not None
    fs, root = there.shared._fs, there.shared._root
    (key,) = (path for path in fs.ls(f"{root}/{version}", detail=False) if "/ranker.onnx." in path)
    fs.pipe_file(key, b"other bytes")
    with pytest.raises(ArtifactInvalid, match=rf"has of version {version} is damaged \(.*ranker.onnx is not the file"):
        there.need(version)
    fs.rm_file(key)
    with pytest.raises(ArtifactInvalid, match=r"is damaged \(files that its manifest names are missing\)"):
        there.need(version)
    manifest = json.loads(fs.cat_file(f"{root}/{version}/{MANIFEST}"))
    manifest["files"]["../../escaped"] = "0" * 64
    fs.pipe_file(f"{root}/{version}/{MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(ArtifactInvalid, match="names files that are not in its folder"):
        there.need(version)
    assert visible(tmp_path / "there") == []


def test_a_version_is_there_once_its_manifest_is(
    here: ModelFolders, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = name_of(here)
    assert here.shared is not None
    here.shared.delete(version)
    assert (here.shared.versions(), another(tmp_path, url).has(version)) == (set(), False)
    for nth in (1, 5):
        with monkeypatch.context() as patch:
            fails_at(patch, here.shared, "put_file", nth)
            with pytest.raises(KeyboardInterrupt):
                here.share(version)
        assert not another(tmp_path, url).has(version)
    here.share(version)
    assert contents(another(tmp_path, url).need(version)) == contents(here.path(version))


def test_a_user_who_is_taken_out_goes_there_too_and_from_every_machine(
    here: ModelFolders, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, there = name_of(here), another(tmp_path, url)
    before = contents(there.need(version))
    user = json.loads(before["user_ids.json"])[0]
    take_out(here.path(version), {id_hash(user)})
    assert here.shared is not None
    with monkeypatch.context() as patch:  # interrupted before the manifest: what is there stays whole
        patch.setattr("contract.shared_models.write_whole", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            here.share_anew(version)
    assert contents(another(tmp_path, url, "meanwhile").need(version)) == before
    here.share(version)  # it is there
    assert contents(another(tmp_path, url, "later").need(version)) == before
    here.share_anew(version)
    for name in ("meanwhile", "there"):
        machine = another(tmp_path, url, name)
        machine.renew({version})
        assert contents(machine.need(version)) == contents(here.path(version))
        assert user not in json.loads((machine.need(version) / "user_ids.json").read_bytes())
        assert visible(tmp_path / name) == [version]
    fs, root = here.shared._fs, here.shared._root
    names = [Path(path).name for path in fs.ls(f"{root}/{version}", detail=False)]
    assert sum(name.startswith("user_ids.json.") for name in names) == 1
    assert all(user.encode() not in data for data in (fs.cat_file(f"{root}/{version}/{name}") for name in names))


def test_what_is_gone_there_goes_from_every_machine_where_it_does_not_serve(
    here: ModelFolders, tmp_path: Path, url: str
) -> None:
    version, there = name_of(here), another(tmp_path, url)
    there.need(version)
    here.delete(version)
    assert (here.has(version), visible(here.models_dir)) == (False, [])
    there.renew({version})
    assert visible(tmp_path / "there") == [version]
    there.renew(set())
    assert visible(tmp_path / "there") == []


def test_a_renewal_that_was_killed_is_put_right(here: ModelFolders, tmp_path: Path, url: str) -> None:
    version, there = name_of(here), another(tmp_path, url)
    folder = there.need(version)
    folder.rename(folder.with_name(f".{version}.fetched-before"))
    there.renew({version})
    assert visible(tmp_path / "there") == [version]
    artifact.load(there.need(version))


def test_old_versions_go_there_as_they_go_from_the_folder(here: ModelFolders) -> None:
    version, shared = name_of(here), here.shared
    assert shared is not None
    published = [f"v{n}" for n in range(FOLDERS)]
    assert forget_shared(shared, [*published, version], {version}) == []
    assert forget_shared(shared, [version, *published], set()) == []
    assert forget_shared(shared, [*published, version], set()) == [version]
    assert shared.versions() == set()
    assert forget_shared(None, [*published, version], set()) == []


def test_a_store_that_is_away_is_named(here: ModelFolders, tmp_path: Path, url: str, server: ObjectStore) -> None:
    version, there = name_of(here), another(tmp_path, url)
    server.stop()
    try:
        for call in (there.need, there.has, here.share):
            with pytest.raises(StoreUnavailable, match=r"^MODELS_URL s3://.* cannot be used now: .*Could not connect"):
                call(version)
        assert here.need(version) == here.models_dir / version
        with pytest.raises(StoreUnavailable, match=r"^MODELS_URL s3://.* cannot be used: it does not answer"):
            SharedModels(url)
    finally:
        server.start()


@pytest.mark.parametrize("scheme", ["file://{}/shared", "memory://shared"])
def test_elsewhere_than_on_s3(tiny_network: Path, tmp_path: Path, scheme: str) -> None:
    url = scheme.format(tmp_path)
    model = exported_model(tiny_network, SMALL)
    shutil.copytree(model, tmp_path / "here" / model.name)
    ModelFolders(tmp_path / "here", SharedModels(url)).share(model.name)
    there = another(tmp_path, url)
    assert contents(there.need(model.name)) == contents(model)
    assert there.shared is not None
    assert there.shared.versions() == {model.name}
    there.delete(model.name)
    assert there.shared.versions() == set()
    assert visible(tmp_path / "there") == []


def test_a_folder_of_this_machine_is_used_as_it_is(tmp_path: Path) -> None:
    folders = ModelFolders(tmp_path)
    assert folders.need("v1") == folders.path("v1") == tmp_path / "v1"
    assert not folders.has("v1")
    folders.share("v1")
    folders.renew(set())
    folders.delete("v1")
    assert list(tmp_path.iterdir()) == []


def stored(shared: SharedModels, version: str, name: str) -> str:
    """The path of a version's file there, of which there is one."""
    (path,) = (path for path in shared._fs.ls(f"{shared._root}/{version}", detail=False) if f"/{name}." in path)
    return str(path)


def first_user(folder: Path) -> str:
    users: list[str] = json.loads((folder / "user_ids.json").read_bytes())
    return users[0]


def redacted(folders: ModelFolders, user: str) -> Redacted:
    """As where that user was deleted."""

    async def deleted(_: object) -> set[str]:
        return {id_hash(user)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_deleted", deleted)
        return asyncio.run(redaction.redact_all(folders, cast("AsyncEngine", None)))


def test_what_a_killed_upload_left_goes_with_the_next_redaction(
    here: ModelFolders, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the manifest, so that nothing is to be taken out any more; and before that of a version nobody has."""
    version, user = name_of(here), first_user(here.path(name_of(here)))
    shared = here.shared
    assert shared is not None
    with monkeypatch.context() as patch:
        fails_at(patch, shared, "rm_file", 1)
        with pytest.raises(KeyboardInterrupt):
            redacted(here, user)
    fs, root = shared._fs, shared._root
    fs.pipe_file(f"{root}/killed/user_ids.json.{'0' * 64}", json.dumps([user]).encode())
    assert sum("/user_ids.json." in path for path in fs.find(root)) == 3
    (here.models_dir / f".{version}.fetch").mkdir()  # of a fetch that was killed, with all its users
    assert redacted(here, user) == Redacted([], [])
    assert all(user.encode() not in fs.cat_file(path) for path in fs.find(root))
    assert visible(here.models_dir) == [version]
    assert contents(another(tmp_path, url).need(version)) == contents(here.path(version))


def test_a_version_that_is_damaged_there_holds_up_no_other_redaction(
    here: ModelFolders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version = name_of(here)
    user = first_user(here.path(version))
    shutil.copytree(here.path(version), here.models_dir / "zz-other")
    here.share("zz-other")
    assert here.shared is not None
    here.shared._fs.rm_file(stored(here.shared, version, "user_ids.json"))
    elsewhere = ModelFolders(tmp_path / "none", here.shared)
    for folders, versions in ((here, [version, "zz-other"]), (elsewhere, [])):
        assert redacted(folders, user) == Redacted(versions, [version])
    assert f"version {version} at MODELS_URL may have deleted users" in caplog.text
    assert first_user(here.path(version)) != user
    assert user.encode() not in (here.shared.user_ids_bytes("zz-other") or user.encode())


@pytest.mark.parametrize("missing", [True, False])
def test_what_is_damaged_there_is_put_right_by_publishing_it_again(
    here: ModelFolders, tmp_path: Path, url: str, missing: bool
) -> None:
    version = name_of(here)
    assert here.shared is not None
    path = stored(here.shared, version, "ranker.onnx")
    if missing:
        here.shared._fs.rm_file(path)
    else:
        here.shared._fs.pipe_file(path, b"other bytes")
    with pytest.raises(ArtifactInvalid, match="is damaged"):
        another(tmp_path, url).need(version)
    here.share_whole(version)
    assert contents(another(tmp_path, url).need(version)) == contents(here.path(version))


def test_what_is_damaged_there_holds_up_no_other_renewal(here: ModelFolders, tmp_path: Path, url: str) -> None:
    version, there = name_of(here), another(tmp_path, url)
    user = first_user(here.path(version))
    versions = {version, "a-other", "zz-other"}
    for name in versions - {version}:
        shutil.copytree(here.path(version), here.models_dir / name)
        here.share(name)
    for name in versions:
        there.need(name)
    assert redacted(here, user) == Redacted(sorted(versions), [])
    assert here.shared is not None
    here.shared._fs.pipe_file(stored(here.shared, version, "ranker.onnx"), b"other bytes")
    with pytest.raises(ArtifactInvalid, match=f"version {version} is damaged"):
        there.renew(versions)
    assert {name for name in versions if first_user(there.path(name)) == user} == {version}
    there.renew(versions)  # and is not fetched again at once
    assert first_user(there.path(version)) == user
    here.share_whole(version)
    there._damaged.clear()
    there.renew(versions)
    assert first_user(there.path(version)) != user


def test_of_two_who_upload_neither_breaks_what_the_other_put(
    here: ModelFolders, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no manifest names yet is removed, by another machine, before its manifest comes."""
    version = name_of(here)
    user = first_user(here.path(version))
    take_out(here.path(version), {id_hash(user)})
    assert here.shared is not None

    def just_before(fs: Any, path: str, data: bytes) -> None:
        SharedModels(url).tidy(version)
        write_whole(fs, path, data)

    monkeypatch.setattr("contract.shared_models.write_whole", just_before)
    here.share_anew(version)
    assert contents(another(tmp_path, url).need(version)) == contents(here.path(version))


def test_who_fetches_to_the_folder_of_models_waits_for_a_redaction_there(here: ModelFolders) -> None:
    """Between its renames there is no folder, and what is fetched would be in the way."""
    version = name_of(here)
    folder, old = here.path(version), here.models_dir / f".{version}.old"
    with ThreadPoolExecutor(1) as thread:
        with alone(here.models_dir):
            folder.rename(old)
            fetching = thread.submit(here.need, version)
            with pytest.raises(TookTooLong):
                fetching.result(0.5)
            assert not folder.exists()
            old.rename(folder)
        assert fetching.result(30) == folder
    assert visible(here.models_dir) == [version]
