from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.blobs import blob_key
from contract.preprocessing import MAX_TEXT_LENGTH
from tests.datasets import FORMATS, Rows, event, line_of, listed, one_reject, read, tables, tweet, write_folder
from training.dataset.arrays import network_of_folder
from training.dataset.rejects import Rejects
from training.errors import InputRejected, NotEnoughData

LATER = {"created_at": "2026-02-01T00:00:00Z"}


def test_the_formats_give_the_same_rows(tmp_path: Path) -> None:
    in_jsonl, in_csv, in_parquet = (read(write_folder(tmp_path / kind, tables(), kind)) for kind in FORMATS)
    assert in_jsonl == in_csv == in_parquet
    assert [len(vars(in_jsonl)[name]) for name in ("users", "follows", "tweets", "retweets")] == [3, 2, 2, 2]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=MAX_TEXT_LENGTH))
def test_any_text_comes_through_every_format(tmp_path: Path, text: str) -> None:
    for kind in FORMATS:
        folder = write_folder(
            tmp_path / kind, tables() | {"tweets": [tweet("t1", "bob", text=text), tweet("t2", "cem")]}, kind
        )
        assert read(folder).tweets[("t1",)].text == text


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "بحيرة هادئة في الصباح",
        "静かな湖。朝の光！",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "e\u0301 a\u0308 Z\u0351\u036b",
        'a "quoted", comma\nand a second line\r\nand a third',
        "a. " * 200,
        "One more sentence. " * 200,
    ],
    ids=["empty", "arabic", "cjk", "emoji", "combining", "quoted", "two hundred sentences", "as long as may be"],
)
def test_texts_that_are_allowed(tmp_path: Path, kind: str, text: str) -> None:
    text = text[:MAX_TEXT_LENGTH]
    rows = tables() | {"tweets": [tweet("t1", "bob", text=text), tweet("t2", "cem")]}
    assert read(write_folder(tmp_path, rows, kind)).tweets[("t1",)].text == text


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("table", "row", "field", "reason"),
    [
        ("users", {"user_id": "not allowed"} | LATER, "user_id", "letters, digits, _ and -"),
        ("users", {"user_id": "ann", "created_at": "2026-01-01T00:00:00Z"}, None, "duplicate of "),
        ("users", {"user_id": "ann"} | LATER, None, "duplicate with other values of "),
        ("follows", {"follower_id": "ann", "followee_id": "nobody"} | LATER, "followee_id", "add its row to users"),
        ("follows", {"follower_id": "ann", "followee_id": "ann"} | LATER, "followee_id", "remove the row"),
        ("follows", {"follower_id": "ann", "followee_id": "bob"} | LATER, None, "remove one of the two"),
        ("tweets", tweet("t3", "nobody"), "author_id", "add its row to users"),
        ("tweets", tweet("t3", "ann", text="a" * (MAX_TEXT_LENGTH + 1)), "text", "at most 2,000 characters"),
        ("tweets", tweet("t3", "ann", text="a\0b"), "text", "remove it"),
        ("tweets", tweet("t3", "ann", image="none.png"), "image", "add the file or remove the row"),
        ("tweets", tweet("t3", "ann", image="../red.png"), "image", "move it in"),
        ("tweets", tweet("t3", "ann", image="a\0b"), "image", "name a picture of the folder"),
        ("tweets", tweet("t1", "bob"), None, "duplicate of "),
        ("retweets", event("nobody", "t1"), "user_id", "add its row to users"),
        ("retweets", event("ann", "t3"), "tweet_id", "add its row to tweets"),
        ("retweets", event("cem", "t1", "2026-01-01T23:59:59Z"), "created_at", "correct one of the two times"),
        ("retweets", event("bob", "t1"), "user_id", "remove the row"),
        ("retweets", event("ann", "t1"), None, "remove one of the two"),
        ("exposures", event("nobody", "t1"), "user_id", "add its row to users"),
        ("exposures", event("bob", "t1"), "user_id", "remove the row"),
        ("exposures", event("cem", "t1", "2026-01-01T23:59:59Z"), "created_at", "correct one of the two times"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_a_bad_row_is_listed_with_its_place_and_fix(
    tmp_path: Path, kind: str, table: str, row: dict[str, Any], field: str | None, reason: str
) -> None:
    rows = tables()
    rows[table].append(row)
    folder = write_folder(tmp_path / "data", rows, kind)
    reject = one_reject(folder)
    assert (reject["file"], reject["field"]) == (str(folder / f"{table}.{kind}"), field)
    assert reject["line"] == line_of(kind, len(rows[table]))
    assert reason in reject["reason"]
    read_as = row if kind != "parquet" else row | {"created_at": reject["row"]["created_at"]}
    assert reject["row"] == read_as


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize("time", ["2026-01-01T00:00:00", "2026-01-01", "yesterday", "1767225600", ""])
def test_a_time_has_a_date_and_a_zone(tmp_path: Path, kind: str, time: str) -> None:
    rows = tables()
    rows["users"].append({"user_id": "dan", "created_at": time})
    reject = one_reject(write_folder(tmp_path, rows, kind))
    assert reject["field"] == "created_at"
    assert "ISO 8601 with a time zone" in reject["reason"]


@pytest.mark.parametrize("row", [{"created_at": 1767225600} | {"user_id": "dan"}, {"user_id": 7} | LATER, LATER])
def test_json_values_of_a_wrong_type_are_rejected(tmp_path: Path, row: dict[str, Any]) -> None:
    rows = tables()
    rows["users"].append(row)
    assert one_reject(write_folder(tmp_path, rows, "jsonl"))["row"] == row


@pytest.mark.parametrize("text", ['{"user_id": ', "[1, 2]", "null", "NaN", '{"user_id": NaN}', "[" * 100_000])
def test_a_line_that_is_no_row_is_listed_as_it_stands(tmp_path: Path, text: str) -> None:
    folder = write_folder(tmp_path, tables(), "jsonl")
    path = folder / "users.jsonl"
    path.write_text(path.read_text() + text + "\n")
    reject = one_reject(folder)
    assert reject["line"] == 4
    assert reject["row"] in (text, [1, 2], None)


def test_a_lone_surrogate_is_listed(tmp_path: Path) -> None:
    rows = tables()
    rows["tweets"].append(tweet("t3", "ann", text="\ud800"))
    assert one_reject(write_folder(tmp_path, rows, "jsonl"))["row"]["text"] == "\ud800"


def test_rows_that_refer_to_a_rejected_row_are_rejected(tmp_path: Path) -> None:
    rows = tables()
    rows["users"][1]["created_at"] = "never"  # bob, who follows, is followed, tweets and retweets
    folder = write_folder(tmp_path, rows, "jsonl")
    rejects = Rejects(strict=False)
    dataset = read(folder, rejects)
    assert rejects.counts() == {"users": 1, "follows": 2, "tweets": 1, "retweets": 2, "exposures": 2}
    assert [*dataset.tweets] == [("t2",)]
    reasons = [reject["reason"] for reject in listed(rejects, folder)]
    assert f"bob was rejected ({folder}/users.jsonl line 2): mend that row first" in reasons
    assert f"t1 was rejected ({folder}/tweets.jsonl line 1): mend that row first" in reasons


def many_retweets() -> dict[str, Rows]:
    """Enough to make a network."""
    rows = tables()
    fans = [f"fan{number:02}" for number in range(25)]
    rows["users"] += [{"user_id": name} | LATER for name in fans]
    rows["retweets"] += [event(name, "t1", f"2026-01-03T00:00:{number:02}Z") for number, name in enumerate(fans)]
    rows["exposures"] += [event("ann", "t1", "2026-01-02T11:00:00Z"), event("ann", "t1")]
    return rows


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_is_a_network_and_its_exposures(tmp_path: Path, kind: str) -> None:
    folder = write_folder(tmp_path, many_retweets(), kind)
    network, exposures, _ = network_of_folder(folder)
    assert network.user_ids[:3] == ["ann", "bob", "cem"]
    assert network.image_keys == [blob_key((folder / "red.png").read_bytes())] * 2
    assert network.author_T.tolist() == [1, 2]
    assert [network.followees[user].tolist() for user in range(3)] == [[1], [2], []]
    assert len(network.retweet_at_R) == 27
    assert (np.diff(network.retweet_at_R) >= 0).all()
    assert exposures is not None
    assert [*zip(exposures.user_X.tolist(), exposures.tweet_X.tolist(), strict=True)] == [(0, 0), (0, 1), (1, 1)]
    assert exposures.at_X[0] == np.datetime64("2026-01-02T11:00:00", "ms").astype(np.int64)  # the first time


def test_a_folder_without_exposures_has_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, many_retweets(), "csv")
    (folder / "exposures.csv").unlink()
    assert network_of_folder(folder)[1] is None


def test_bad_rows_are_left_out_of_the_network_only_where_they_are_collected(tmp_path: Path) -> None:
    rows = many_retweets()
    rows["exposures"].append(event("nobody", "t1"))
    folder = write_folder(tmp_path, rows, "jsonl")
    with pytest.raises(InputRejected, match=r"exposures.jsonl line 6, field user_id"):
        network_of_folder(folder)
    rejects = Rejects(strict=False)
    _, exposures, _ = network_of_folder(folder, rejects)
    assert rejects.counts() == {"exposures": 1}
    assert exposures is not None
    assert len(exposures.at_X) == 3


def test_too_few_retweets_make_no_network(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughData, match="2 retweets"):
        network_of_folder(write_folder(tmp_path, tables(), "jsonl"))
