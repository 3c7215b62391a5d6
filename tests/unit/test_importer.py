import asyncio
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import func, select

from contract.embedded import open_redis, redis_server
from contract.environment import StoreSettings
from contract.graph import OnlineGraph
from contract.tables import Base, Tweet, open_database
from tests.conftest import import_into
from training.errors import InputRejected
from training.importer import ImportReport

Rows = list[dict[str, Any]]
NOTHING = {table.name: 0 for table in Base.metadata.sorted_tables}


@pytest.fixture
def folder(tiny_network: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny_network, tmp_path / "dataset"))


def read(folder: Path, name: str) -> Rows:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines()]


def write(folder: Path, name: str, rows: Rows) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def change(folder: Path, name: str, line: int, **values: Any) -> None:
    """Change fields of a line, counted from 1."""
    rows = read(folder, name)
    rows[line - 1] |= values
    write(folder, name, rows)


def replace_line(folder: Path, name: str, line: int, text: bytes) -> None:
    path = folder / f"{name}.jsonl"
    lines = path.read_bytes().splitlines()
    lines[line - 1] = text
    path.write_bytes(b"\n".join(lines) + b"\n")


def repeat(folder: Path, name: str, line: int) -> int:
    """Repeat a line at the end; returns the new line's number."""
    rows = read(folder, name)
    write(folder, name, [*rows, rows[line - 1]])
    return len(rows) + 1


def counts(stores: StoreSettings) -> dict[str, int]:
    """Rows by table."""

    async def run() -> dict[str, int]:
        async with open_database(stores.sqlalchemy_url) as engine, engine.connect() as connection:
            return {
                table.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
                for table in Base.metadata.sorted_tables
            }

    return asyncio.run(run())


def blobs(stores: StoreSettings) -> set[str]:
    """Keys in the blob store's folder, and whatever else lies there."""
    return {path.name for path in (stores.var_dir / "images").rglob("*") if path.is_file()}


def texts(stores: StoreSettings) -> dict[str, str]:
    async def run() -> dict[str, str]:
        async with open_database(stores.sqlalchemy_url) as engine, engine.connect() as connection:
            rows = await connection.execute(select(Tweet.tweet_id, Tweet.text))
            return {row.tweet_id: row.text for row in rows}

    return asyncio.run(run())


def online_users(stores: StoreSettings, user_ids: list[str]) -> list[bool]:
    async def run(redis_url: str) -> list[bool]:
        async with open_redis(redis_url) as redis:
            graph = OnlineGraph(redis, stores.redis_namespace)
            return [(await graph.user(user_id)).exists for user_id in user_ids]

    with redis_server(stores) as (redis_url, _):
        return asyncio.run(run(redis_url))


def refused(folder: Path, stores: StoreSettings, place: str, *parts: str) -> str:
    """The message of the refusal, which names the place; nothing is stored."""
    with pytest.raises(InputRejected) as caught:
        import_into(stores, folder)
    message = str(caught.value)
    assert f"{folder}/{place}" in message
    assert all(part in message for part in parts), message
    assert "\n" not in message
    assert counts(stores) == NOTHING
    assert blobs(stores) == set()
    return message


def test_everything_of_a_folder_is_stored(folder: Path, stores: StoreSettings) -> None:
    report = import_into(stores, folder)
    expected = {name: len(read(folder, name)) for name in ("users", "follows", "tweets", "retweets")}
    exposures = len(read(folder, "exposures"))
    assert report == ImportReport(**expected, known=0, exposures=exposures, rejected={})
    assert counts(stores) == NOTHING | expected
    assert texts(stores) == {row["tweet_id"]: row["text"] for row in read(folder, "tweets")}
    assert len(blobs(stores)) == len({(folder / row["image"]).read_bytes() for row in read(folder, "tweets")})
    assert all(online_users(stores, [row["user_id"] for row in read(folder, "users")]))
    assert not any(online_users(stores, ["nobody"]))


def test_a_second_time_adds_nothing(folder: Path, stores: StoreSettings) -> None:
    import_into(stores, folder)
    before, blobs_before = counts(stores), blobs(stores)
    report = import_into(stores, folder)
    assert (report.users, report.follows, report.tweets, report.retweets) == (0, 0, 0, 0)
    assert report.known == sum(before.values())
    assert (counts(stores), blobs(stores)) == (before, blobs_before)


def test_rows_may_refer_to_what_is_stored(folder: Path, stores: StoreSettings, tmp_path: Path) -> None:
    import_into(stores, folder)
    more = tmp_path / "more"
    more.mkdir()
    Image.new("RGB", (9, 9), "red").save(more / "red.png")
    user, tweet = read(folder, "users")[0], read(folder, "tweets")[0]
    at = "2026-06-01T00:00:00Z"
    new = {"tweet_id": "new", "author_id": user["user_id"], "text": "hello", "image": "red.png", "created_at": at}
    write(more, "users", [{"user_id": "newcomer", "created_at": at}])
    write(more, "follows", [{"follower_id": "newcomer", "followee_id": user["user_id"], "created_at": at}])
    write(more, "tweets", [new])
    write(more, "retweets", [{"user_id": "newcomer", "tweet_id": tweet["tweet_id"], "created_at": at}])
    assert import_into(stores, more) == ImportReport(users=1, follows=1, tweets=1, retweets=1)


@pytest.mark.parametrize("name", ["users", "follows", "tweets", "retweets"])
def test_a_missing_file_is_named(folder: Path, stores: StoreSettings, name: str) -> None:
    (folder / f"{name}.jsonl").unlink()
    refused(folder, stores, f"{name}.jsonl", "is missing")


def test_a_missing_folder_is_named(stores: StoreSettings, tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match=r"nowhere is no folder"):
        import_into(stores, tmp_path / "nowhere")
    assert counts(stores) == NOTHING


def test_a_missing_image_is_named(folder: Path, stores: StoreSettings) -> None:
    image = read(folder, "tweets")[6]["image"]
    (folder / image).unlink()
    refused(folder, stores, "tweets.jsonl line 7", "field image", image)


@pytest.mark.parametrize("name", ["users", "follows", "tweets", "retweets"])
def test_a_second_line_of_the_same_key_is_named(folder: Path, stores: StoreSettings, name: str) -> None:
    line = repeat(folder, name, 3)
    refused(folder, stores, f"{name}.jsonl line {line}:", "duplicate", "line 3 ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("users", b'{"user_id": '),
        ("follows", b""),
        ("tweets", b"[1, 2]"),
        ("retweets", b"\xff\xfe"),
        ("users", b"null"),
    ],
)
def test_a_malformed_line_is_named(folder: Path, stores: StoreSettings, name: str, text: bytes) -> None:
    replace_line(folder, name, 4, text)
    refused(folder, stores, f"{name}.jsonl line 4")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("users", "user_id", "not allowed"),
        ("users", "user_id", "a" * 65),
        ("users", "created_at", "2026-01-01T00:00:00"),
        ("follows", "followee_id", "nobody"),
        ("follows", "follower_id", "nobody"),
        ("tweets", "author_id", "nobody"),
        ("tweets", "tweet_id", "a/b"),
        ("tweets", "text", "a" * 2_001),
        ("tweets", "text", "a\x00b"),
        ("tweets", "created_at", "0001-01-01T00:00:00+14:00"),
        ("tweets", "image", "images/none.jpg"),
        ("tweets", "image", ""),
        ("tweets", "image", "/etc/hostname"),
        ("tweets", "image", "a\x00b"),
        ("tweets", "image", "a" * 5_000),
        ("retweets", "user_id", "nobody"),
        ("retweets", "tweet_id", "nothing"),
        ("retweets", "tweet_id", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_wrong_value_is_named(folder: Path, stores: StoreSettings, name: str, field: str, value: Any) -> None:
    change(folder, name, 5, **{field: value})
    refused(folder, stores, f"{name}.jsonl line 5", f"field {field}")


def test_a_missing_field_is_named(folder: Path, stores: StoreSettings) -> None:
    rows = read(folder, "tweets")
    del rows[1]["text"]
    write(folder, "tweets", rows)
    refused(folder, stores, "tweets.jsonl line 2", "field text")


def test_nobody_follows_themselves(folder: Path, stores: StoreSettings) -> None:
    change(folder, "follows", 2, followee_id=read(folder, "follows")[1]["follower_id"])
    refused(folder, stores, "follows.jsonl line 2", "followee_id")


@pytest.mark.parametrize("climb", ["../outside.jpg", "images/../../outside.jpg"])
def test_an_image_outside_the_folder_is_refused(folder: Path, stores: StoreSettings, climb: str) -> None:
    Image.new("RGB", (9, 9)).save(folder.parent / "outside.jpg")
    change(folder, "tweets", 3, image=climb)
    refused(folder, stores, "tweets.jsonl line 3", "field image", "outside the folder")


def test_a_link_out_of_the_folder_is_refused(folder: Path, stores: StoreSettings) -> None:
    Image.new("RGB", (9, 9)).save(folder.parent / "outside.jpg")
    (folder / "link.jpg").symlink_to(folder.parent / "outside.jpg")
    change(folder, "tweets", 3, image="link.jpg")
    refused(folder, stores, "tweets.jsonl line 3", "field image", "outside the folder")


def cut_in_half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def text_in_place(path: Path) -> None:
    path.write_text("this is no picture")


@pytest.mark.parametrize("damage", [text_in_place, cut_in_half])
def test_a_file_that_is_no_whole_picture_is_named(
    folder: Path, stores: StoreSettings, damage: Callable[[Path], None]
) -> None:
    image = read(folder, "tweets")[9]["image"]
    damage(folder / image)
    refused(folder, stores, "tweets.jsonl line 10", "field image", image)


def change_text(folder: Path) -> None:
    change(folder, "tweets", 8, text="other words")


def change_author(folder: Path) -> None:
    author = read(folder, "tweets")[7]["author_id"]
    change(folder, "tweets", 8, author_id=next(u["user_id"] for u in read(folder, "users") if u["user_id"] != author))


def change_image(folder: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(folder / "other.png")
    change(folder, "tweets", 8, image="other.png")


@pytest.mark.parametrize("changed", [change_text, change_author, change_image])
def test_a_stored_tweet_cannot_be_changed(folder: Path, stores: StoreSettings, changed: Callable[[Path], None]) -> None:
    import_into(stores, folder)
    before = counts(stores), blobs(stores), texts(stores)
    changed(folder)
    rows = read(folder, "users")
    write(folder, "users", [*rows, {"user_id": "newcomer", "created_at": rows[0]["created_at"]}])
    tweet_id = read(folder, "tweets")[7]["tweet_id"]
    with pytest.raises(InputRejected, match=re.escape(f"{folder}/tweets.jsonl line 8: tweet_id {tweet_id} ")):
        import_into(stores, folder)
    assert (counts(stores), blobs(stores), texts(stores)) == before
