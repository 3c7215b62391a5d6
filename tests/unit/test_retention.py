import os
import time
from pathlib import Path

import pytest

from training.retention import DAYS, FOLDERS, forget_folders, forget_runs


def make(folder: Path, file: str, days_ago: float = 0.0) -> Path:
    folder.mkdir(parents=True)
    (folder / file).write_text("{}")
    at = time.time() - days_ago * 86_400
    for path in (folder / file, folder):
        os.utime(path, (at, at))
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_newest_published_versions_keep_their_folders_however_old(tmp_path: Path) -> None:
    published = [f"v{n}" for n in range(FOLDERS + 3)]
    for version in published:
        make(tmp_path / version, "manifest.json", days_ago=100)
    assert forget_folders(tmp_path, published) == published[FOLDERS:]
    assert names(tmp_path) == set(published[:FOLDERS])
    assert forget_folders(tmp_path, published) == []


@pytest.mark.parametrize(("days_ago", "kept"), [(DAYS - 0.1, True), (DAYS + 0.1, False)])
def test_what_was_never_published_is_kept_for_days(tmp_path: Path, days_ago: float, kept: bool) -> None:
    make(tmp_path / "stopped", "manifest.json", days_ago)
    make(tmp_path / "not-a-model", "other.txt", 100)
    assert forget_folders(tmp_path, ["v1"]) == ([] if kept else ["stopped"])
    assert names(tmp_path) == {"not-a-model"} | ({"stopped"} if kept else set())


@pytest.mark.parametrize(("days_ago", "kept"), [(DAYS - 0.1, True), (DAYS + 0.1, False)])
def test_a_run_that_nobody_goes_on_with_is_deleted(tmp_path: Path, days_ago: float, kept: bool) -> None:
    make(tmp_path / "run", "checkpoint.pt", days_ago)
    (tmp_path / "lock").touch()
    assert forget_runs(tmp_path) == ([] if kept else ["run"])
    assert names(tmp_path) == {"lock"} | ({"run"} if kept else set())
