"""A folder of pictures made a dataset: kinds, captions, made people, and what is refused."""

import csv
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contract.progress import silent
from training.__main__ import main
from training.adopt import adopt

HUES = {"beach": (230, 200, 90), "forest": (20, 120, 40), "night": (10, 10, 60)}


def draw(path: Path, colour: tuple[int, int, int], number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), tuple(min(255, one + number) for one in colour)).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten of each of three kinds."""
    folder = tmp_path / "pictures"
    for kind, colour in HUES.items():
        for number in range(10):
            draw(folder / kind / f"no {number}.png", colour, number)
    return folder


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_people_retweet_what_is_of_the_kinds_that_they_like(pictures: Path, tmp_path: Path) -> None:
    made = adopt(pictures, tmp_path / "out", 60, 0, silent)
    assert made.kinds == {"beach": 10, "forest": 10, "night": 10}
    image = {row["tweet_id"]: row["image"] for row in rows(tmp_path / "out", "tweets")}
    assert sorted(image) == [f"p{number:04}" for number in range(1, 31)]
    assert image["p0001"] == "pictures/beach/no 0.png"
    assert (tmp_path / "out" / image["p0001"]).read_bytes() == (pictures / "beach/no 0.png").read_bytes()
    retweets = rows(tmp_path / "out", "retweets")
    assert len(retweets) == made.retweets > 200
    most = 0
    for user in {row["user_id"] for row in retweets}:
        kinds = [image[row["tweet_id"]].split("/")[1] for row in retweets if row["user_id"] == user]
        most += sum(sorted(kinds.count(kind) for kind in HUES)[1:])  # of two kinds at most
    assert most > 0.85 * len(retweets)


def test_pictures_in_one_folder_are_of_kinds_by_colour(pictures: Path, tmp_path: Path) -> None:
    for path in pictures.glob("*/*"):
        path.rename(pictures / f"{path.parent.name} {path.name}")
    for kind in HUES:
        (pictures / kind).rmdir()
    made = adopt(pictures, tmp_path / "out", 20, 0, silent)
    assert sorted(made.kinds) == ["colour 1", "colour 2", "colour 3", "colour 4"]
    assert max(made.kinds.values()) - min(made.kinds.values()) <= 1


def test_there_may_be_more_kinds_than_people(pictures: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(pictures.glob("*/*"))):
        (pictures / f"day {number}.jpg").mkdir()
        path.rename(pictures / f"day {number}.jpg" / path.name)
    made = adopt(pictures, tmp_path / "out", 12, 0, silent)
    assert len(made.kinds) == made.tweets == 30
    assert made.left_out == {}


def test_the_same_pictures_and_seed_give_the_same_tables(pictures: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        adopt(pictures, tmp_path / name, 20, seed, silent)
    for name in ("users", "follows", "tweets", "retweets"):
        one, two = ((tmp_path / folder / f"{name}.csv").read_bytes() for folder in ("one", "two"))
        assert one == two
    assert rows(tmp_path / "one", "follows") != rows(tmp_path / "other", "follows")


def test_captions_become_words(pictures: Path, tmp_path: Path) -> None:
    (pictures / "captions.csv").write_text('file,text\nbeach/no 3.png,"Calm, at last"\n', "utf-8")
    adopt(pictures, tmp_path / "out", 20, 0, silent)
    text = {row["image"]: row["text"] for row in rows(tmp_path / "out", "tweets")}
    assert text.pop("pictures/beach/no 3.png") == "Calm, at last"
    assert set(text.values()) == {""}


def test_what_cannot_be_used_is_left_out_and_told(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "beach" / "broken.JPG").write_bytes(b"no picture")
    (pictures / "notes.txt").write_text("not looked at", "utf-8")
    assert main(["adopt", str(pictures), str(tmp_path / "out"), "--people", "12"]) == 0
    said = "".join(capsys.readouterr())
    assert "30 image tweets" in said
    assert "LEFT OUT beach/broken.JPG: image is no JPEG" in said
    assert "beach (10), forest (10), night (10)" in said


@pytest.mark.parametrize(
    ("captions", "named"),
    [
        ("name,text\n", "line 1"),
        ("file,text\nbeach/no 3.png,fine\nlost.png,where\n", "line 3, field file: lost.png"),
        (f"file,text\nbeach/no 3.png,{'x' * 2_001}\n", "line 2, field text"),
    ],
)
def test_bad_captions_are_one_line(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], captions: str, named: str
) -> None:
    (pictures / "captions.csv").write_text(captions, "utf-8")
    refused(["adopt", str(pictures), str(tmp_path / "out")], named, capsys)
    assert not (tmp_path / "out").exists()


def test_captions_that_are_not_utf_8_are_one_line(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "captions.csv").write_bytes("file,text\nbeach/no 3.png,Düne\n".encode("latin-1"))
    refused(["adopt", str(pictures), str(tmp_path / "out")], "save the file as UTF-8", capsys)


@pytest.mark.parametrize(
    ("pictures_", "out", "more", "named"),
    [
        ("nowhere", "out", (), "is no folder"),
        ("pictures/beach", "out", (), "has 10 pictures"),
        ("pictures", "pictures/out", (), "lies within"),
        ("pictures", "pictures", (), "already exists"),
        ("pictures", "out", ("--people", "3"), "--people 3"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    pictures_: str,
    out: str,
    more: tuple[str, ...],
    named: str,
) -> None:
    assert pictures.parent == tmp_path
    refused(["adopt", str(tmp_path / pictures_), str(tmp_path / out), *more], named, capsys)


def test_a_seed_that_cannot_be_is_a_wrong_command_line(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["adopt", str(pictures), str(tmp_path / "out"), "--seed", "-1"])
    assert ended.value.code == 2
    assert "--seed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_told_to_end_as_the_draft_is_made_it_leaves_none(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.mkdir

    def make_and_be_told(*arguments: Any, **more: Any) -> None:
        make(*arguments, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "mkdir", make_and_be_told)
    with pytest.raises(KeyboardInterrupt):
        adopt(pictures, tmp_path / "out", 20, 0, silent)
    assert list(tmp_path.iterdir()) == [pictures]


def refused(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert named in error
