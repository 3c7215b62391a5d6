"""Public data sets' files as they are found: odd ones are read, damaged ones refused with their place."""

from pathlib import Path

import pytest

from tests.unit.test_public import FLICKR, USERS, assignments, flickr_likes, month, write_flickr, write_lastfm
from training.errors import InputRejected
from training.public.flickr import load_flickr
from training.public.lastfm import load_lastfm


def refusal(path: Path) -> str:
    """What is said of a file, after its path, by the importer that it belongs to."""
    with pytest.raises(InputRejected) as caught:
        (load_flickr if path.name in FLICKR else load_lastfm)(path.parent)
    told = str(caught.value)
    assert told.startswith(f"{path} ")
    assert "\n" not in told
    return told.removeprefix(f"{path} ")


def test_a_tag_may_hold_any_separator_but_a_line_feed_in_any_encoding(tmp_path: Path) -> None:
    odd = {
        20: b"caf\xe9",
        21: "rêve".encode(),
        22: "new\x85wave".encode(),
        23: "slow\u2028core".encode(),
        24: b"trip\rhop",
        25: b"post\x0cpunk",
    }
    rows = [(USERS[0], artist, tag, month(0)) for tag in odd for artist in (301, 302)]
    path = write_lastfm(tmp_path, assignments() + rows) / "tags.dat"
    path.write_bytes(path.read_bytes() + b"".join(b"%d\t%s\r\n" % tag for tag in odd.items()))
    words = set(load_lastfm(tmp_path).content.words)
    assert words >= {"caf", "rêve", "new", "wave", "slow", "core", "trip", "hop", "post", "punk"}


@pytest.mark.parametrize("name", ["user_taggedartists.dat", "user_friends.dat", "tags.dat"])
def test_a_missing_lastfm_file_is_named(tmp_path: Path, name: str) -> None:
    path = write_lastfm(tmp_path, assignments()) / name
    path.unlink()
    assert refusal(path).startswith("is missing")


@pytest.mark.parametrize(
    ("name", "line", "place"),
    [
        ("user_taggedartists.dat", "7\t300\trock\t1\t1\t2005", "line 3, column 3: 'rock' is no whole number"),
        ("user_taggedartists.dat", "7\t300\t5\t1\t1\t2005 # sic", "line 3, column 6: '2005 # sic' is no whole number"),
        ("user_taggedartists.dat", "# 7\t300\t5\t1\t1\t2005", "line 3, column 1: '# 7' is no whole number"),
        ("user_taggedartists.dat", "-7\t300\t5\t1\t1\t2005", "line 3, column 1: '-7' is no whole number"),
        ("user_taggedartists.dat", "7\t300\t5", "line 3 has 3 columns, not 6"),
        ("user_taggedartists.dat", "7\t300\t5\t1\t13\t2005", "line 3: month"),
        ("user_taggedartists.dat", "7\t300\t5\t30\t2\t2005", "line 3: day"),
        ("user_friends.dat", "7\tseven", "line 3, column 2: 'seven' is no whole number"),
        ("user_friends.dat", "7", "line 3 has 1 columns, not 2"),
        ("tags.dat", "13", "line 3: '13' is not a number, a tab and a tag"),
        ("tags.dat", "thirteen\tjazz", r"line 3: 'thirteen\tjazz' is not a number, a tab and a tag"),
    ],
)
def test_a_damaged_lastfm_line_is_refused_with_its_place(tmp_path: Path, name: str, line: str, place: str) -> None:
    path = write_lastfm(tmp_path, assignments()) / name
    lines = path.read_bytes().split(b"\r\n")
    path.write_bytes(b"\r\n".join([*lines[:2], line.encode(), *lines[2:]]))
    assert refusal(path).startswith(place)


def test_a_lastfm_tag_that_is_not_in_its_table_is_refused_by_its_number(tmp_path: Path) -> None:
    rows = [*assignments(), (USERS[0], 300, 777, month(0))]
    path = write_lastfm(tmp_path, rows) / "user_taggedartists.dat"
    with pytest.raises(InputRejected) as caught:
        load_lastfm(tmp_path)
    assert str(caught.value).startswith(f"{path}: tag 777 is not in tags.dat")


@pytest.mark.parametrize("name", ["user_taggedartists.dat", "user_friends.dat"])
def test_a_lastfm_file_with_nothing_but_its_header_is_refused(tmp_path: Path, name: str) -> None:
    path = write_lastfm(tmp_path, assignments()) / name
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert refusal(path).startswith("has no rows")


@pytest.mark.parametrize("name", FLICKR)
def test_a_missing_flickr_file_is_named(tmp_path: Path, name: str) -> None:
    path = write_flickr(tmp_path, *flickr_likes()) / name
    path.unlink()
    assert refusal(path).startswith("is missing")


@pytest.mark.parametrize("name", FLICKR)
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1\ttwo\t1\n", "line 1, column 2: 'two' is no whole number"),
        ("1\t2\t1\n3\n4\t5\t1\n", "line 2 has 1 columns, not 3"),
        ("1\n", "line 1 has 1 columns, not 3"),
        ("", "has no rows"),
        ("1\t2\t1\n-1\t2\t1\n", "line 2, column 1: '-1' is no whole number"),
        ("1 2 1\n", "line 1 has 1 columns, not 3"),
        ("1\t2\t1 # liked\n", "line 1, column 3: '1 # liked' is no whole number"),
        ("1\t2\t1\n\n#3\t4\t1\n", "line 3, column 1: '#3' is no whole number"),
    ],
    ids=["word", "ragged", "one column", "empty", "negative", "spaces", "remark", "remark alone"],
)
def test_a_damaged_flickr_file_is_refused_with_the_place(tmp_path: Path, name: str, text: str, place: str) -> None:
    path = write_flickr(tmp_path, *flickr_likes()) / name
    path.write_text(text, "utf-8")
    assert refusal(path).startswith(place)
