"""A made network's folder as problems: its pictures wherever they lie, its ceilings only where the truth is its own."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from contract.progress import silent
from training.errors import InputRejected
from training.made import ceiling_scorers, load_made, read_made
from training.problem import Problem
from training.settings import TrainingSettings
from training.synthesize import Truth

SETTINGS = TrainingSettings(backbone="tiny")


@pytest.fixture
def folder(tiny_network: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_network, tmp_path / "made")


def problem_of_folder(folder: Path) -> Problem:
    return read_made(folder).problem(80, SETTINGS)


def without(path: Path, field: str, value: str) -> None:
    """Take the rows out that name a value."""
    rows = [line for line in path.read_text("utf-8").splitlines() if json.loads(line)[field] != value]
    path.write_text("".join(f"{line}\n" for line in rows), "utf-8")


def test_pictures_may_lie_anywhere_in_the_folder(tiny_network: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "images").rename(folder / "pictures")
    table = folder / "tweets.jsonl"
    table.write_text(table.read_text("utf-8").replace('"images/', '"pictures/'), "utf-8")
    here, there = (load_made(one, SETTINGS, tmp_path / one.name, silent).x_TF for one in (folder, tiny_network))
    assert here is not None
    assert there is not None
    assert here.tolist() == there.tolist()


def test_a_picture_that_is_none_is_named_by_its_file(folder: Path, tmp_path: Path) -> None:
    (folder / "images" / "t0005.jpg").write_bytes(b"none")
    with pytest.raises(InputRejected, match=r"images/t0005.jpg: image is no JPEG"):
        load_made(folder, SETTINGS, tmp_path / "cache", silent)


def test_a_truth_of_other_tweets_gives_no_ceilings(folder: Path) -> None:
    first = json.loads((folder / "tweets.jsonl").read_text("utf-8").splitlines()[0])["tweet_id"]
    for table in ("tweets", "retweets", "exposures"):
        without(folder / f"{table}.jsonl", "tweet_id", first)
    with pytest.raises(InputRejected, match=r"truth.npz is of other users, follows or tweets"):
        ceiling_scorers(folder, problem_of_folder(folder))


def test_a_truth_of_other_users_gives_no_ceilings(folder: Path) -> None:
    with (folder / "users.jsonl").open("a", encoding="utf-8") as users:
        users.write('{"user_id": "a1", "created_at": "2026-01-01T00:00:00Z"}\n')
    with pytest.raises(InputRejected, match=r"truth.npz is of other users, follows or tweets"):
        ceiling_scorers(folder, problem_of_folder(folder))


def test_a_folder_without_a_truth_has_no_ceilings(folder: Path) -> None:
    assert len(ceiling_scorers(folder, problem_of_folder(folder))) == 5
    (folder / "truth.npz").unlink()
    assert ceiling_scorers(folder, problem_of_folder(folder)) == {}


@pytest.mark.parametrize("change", [{"weights": np.array([0.0, 1.0, 1.0])}, {"tastes_UD": None}, {"weights": None}])
def test_the_truth_of_another_version_is_refused(folder: Path, change: dict[str, object]) -> None:
    path = folder / "truth.npz"
    with np.load(path, allow_pickle=False) as arrays:
        kept = {name: array for name, array in {**arrays, **change}.items() if array is not None}
    np.savez(path, allow_pickle=False, **kept)
    with pytest.raises(InputRejected, match="make the network again"):
        Truth.load(path)
