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


def test_the_newest_published_versions_and_the_kept_ones_keep_their_folders_however_old(tmp_path: Path) -> None:
    published = [f"v{n}" for n in range(FOLDERS + 3)]
    on_trial = published[FOLDERS + 1]
    for version in (*published, "of-another-deployment"):
        make(tmp_path / version, "manifest.json", days_ago=100)
    old = [version for version in published[FOLDERS:] if version != on_trial]
    assert forget_folders(tmp_path, published, {published[0], on_trial}) == old
    assert names(tmp_path) == {*published[:FOLDERS], on_trial, "of-another-deployment"}
    assert forget_folders(tmp_path, published, {published[0], on_trial}) == []


@pytest.mark.parametrize(("days_ago", "kept"), [(DAYS - 0.1, True), (DAYS + 0.1, False)])
def test_a_run_that_nobody_goes_on_with_is_deleted_with_what_it_exported(
    tmp_path: Path, days_ago: float, kept: bool
) -> None:
    runs, models = tmp_path / "runs", tmp_path / "models"
    for run in ("stopped", "killed", "published"):
        make(runs / run, "version", days_ago)
        (runs / run / "version").write_text(f"v-{run}", "utf-8")
        os.utime(runs / run, (time.time() - days_ago * 86_400,) * 2)
    make(runs / "begun", "version", days_ago)
    (runs / "begun" / "version").write_text("", "utf-8")
    os.utime(runs / "begun", (time.time() - days_ago * 86_400,) * 2)
    (runs / "lock").touch()
    for folder in ("v-stopped", "v-published", ".v-killed.draft", "of-another-deployment"):
        make(models / folder, "manifest.json", days_ago)
    gone = forget_runs(runs, models, ["v-published"])
    assert set(gone) == (set() if kept else {"v-stopped", ".v-killed.draft", "stopped", "killed", "published", "begun"})
    assert names(models) >= {"v-published", "of-another-deployment"}
    assert len(names(models)) == (4 if kept else 2)
    assert len(names(runs)) == (5 if kept else 1)
