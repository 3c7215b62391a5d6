"""Everything out of the stores, back in, and out again."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.blobs import BlobStore, blob_key
from contract.environment import StoreSettings
from contract.progress import Progress, T, silent
from contract.tables import DeletedTweet, Follow, Hide, Retweet, Tweet, User, create_engine
from tests.conftest import KINDS, ROOT, fresh_stores, import_into
from tests.unit.test_import_rejects import stored
from training.__main__ import main
from training.dataset.rows import FORMATS, Format
from training.dump import ExportReport, export_dataset
from training.errors import ExportFailed

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
A_LITTLE_EARLIER = AT.replace(microsecond=678_600)
"""Than AT, in the same millisecond: the service takes a retweet then."""
TEXTS = {
    "empty": "",
    "arabic": "بحيرة هادئة في الصباح \u202e\u2067و\u2069",
    "cjk": "静かな湖。朝の光！",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈 e\u0301",
    "quotes": "a \"quoted\", comma; and 'one' \\ more",
    "lines": "one\ntwo\r\nthree\rfour\u2028five\u2029six\x0bseven\x85",
    "formula": "=1+1",
    "blank": "  \t ",
    "Upper": "an id that a file system may take for another's",
    "upper": "an id that a file system may take for another's",
    "CON": "\ufeffan id that Windows keeps for itself",
}


def picture(format_: str, **more: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (19, 7), "teal").save(buffer, format_, **more)
    return buffer.getvalue()


PICTURES = [
    picture("JPEG"),
    picture("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    picture("PNG"),
    picture("WEBP"),
    picture("GIF", save_all=True, append_images=[Image.new("RGB", (19, 7), "red")]),
    picture("PNG") + b"what stands after the end stays",
]


USERS = ["ann", "Bob", "a_b", "a-b", "Z", "1"]


async def fill(connection: AsyncConnection, keys: list[str]) -> None:
    """Every kind of row, with ids whose order differs between alphabets, and every kind of picture."""
    await connection.execute(insert(User), [{"user_id": user, "created_at": AT} for user in USERS])
    follows = [{"follower_id": a, "followee_id": b, "created_at": AT} for a in USERS for b in USERS if a != b]
    await connection.execute(insert(Follow), follows)
    for number, (id_, words) in enumerate(TEXTS.items()):
        values = {"tweet_id": id_, "author_id": USERS[number % 6], "text": words, "image_key": keys[number % 6]}
        times = {"created_at": AT, "hidden_at": AT.replace(microsecond=number) if number % 3 == 0 else None}
        await connection.execute(insert(Tweet).values(**values, **times))
        for table in (Retweet, Hide):
            by = {"user_id": USERS[(number + 1) % 6], "tweet_id": id_, "created_at": A_LITTLE_EARLIER}
            await connection.execute(insert(table).values(by))
    for id_ in ("gone", "Gone-too"):
        await connection.execute(insert(DeletedTweet).values(tweet_id=id_, deleted_at=AT))


@pytest.fixture
def full(stores: StoreSettings) -> StoreSettings:
    keys = [BlobStore(stores.image_store_url).put(data) for data in PICTURES]
    in_transaction(stores, lambda connection: fill(connection, keys))
    return stores


def in_transaction(stores: StoreSettings, work: Any) -> None:
    async def run() -> None:
        engine = create_engine(stores.sqlalchemy_url)
        async with engine.begin() as connection:
            await work(connection)
        await engine.dispose()

    asyncio.run(run())


def export(folder: Path, stores: StoreSettings, kind: Format = "jsonl", progress: Progress = silent) -> ExportReport:
    return asyncio.run(export_dataset(folder, kind, stores, progress))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lines(folder: Path, name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_bytes().decode().split("\n")[:-1]]


def folders(parent: Path) -> list[str]:
    """Drafts too."""
    return sorted(path.name for path in parent.iterdir())


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_imported_again_is_exported_again(full: StoreSettings, tmp_path: Path, kind: Format) -> None:
    """Into stores of the other kind, whose alphabet may be another."""
    first = export(tmp_path / "first", full, kind)
    assert first.rows == {"users": 6, "follows": 30, "tweets": 11, "retweets": 11, "hides": 11, "deleted_tweets": 2}
    assert (first.pictures, first.picture_bytes) == (6, sum(map(len, PICTURES)))
    with fresh_stores(KINDS[full.database_url is None]) as again:
        report = import_into(again, tmp_path / "first")
        assert (report.tweets, report.hides, report.deleted_tweets, report.known) == (11, 11, 2, 0)
        assert stored(again) == stored(full)
        assert export(tmp_path / "second", again, kind) == first
        blobs = BlobStore(again.image_store_url)
        assert [blobs.get(blob_key(data)) for data in PICTURES] == PICTURES
    assert files(tmp_path / "second") == files(tmp_path / "first")
    assert folders(tmp_path) == ["first", "second"]


def test_rows_come_in_the_order_of_their_ids(full: StoreSettings, tmp_path: Path) -> None:
    export(tmp_path / "out", full)
    assert [row["user_id"] for row in lines(tmp_path / "out", "users")] == sorted(USERS)
    assert [row["tweet_id"] for row in lines(tmp_path / "out", "tweets")] == sorted(TEXTS)
    assert {row["tweet_id"]: row["text"] for row in lines(tmp_path / "out", "tweets")} == TEXTS


@pytest.fixture
def environment(full: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> StoreSettings:
    """Full stores that this process's environment names; no Redis, which an export does without."""
    for name, value in named(full).items():
        monkeypatch.setenv(name, value)
    return full


def named(stores: StoreSettings) -> dict[str, str]:
    """Stores as environment variables."""
    return {
        "DATABASE_URL": stores.database_url or stores.sqlalchemy_url.replace("+aiosqlite", ""),
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "BLOB_URL": stores.image_store_url,
        "VAR_DIR": str(stores.var_dir),
    }


@pytest.mark.usefixtures("environment")
def test_the_command_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["export", str(tmp_path / "empty"), "--format", "csv"]) == 0
    output = capsys.readouterr()
    assert output.out == (
        f"exported 6 users, 30 follows, 11 image tweets with 6 pictures ({sum(map(len, PICTURES)):,} bytes), "
        f"11 retweets, 11 hides and 2 ids of deleted tweets to {tmp_path / 'empty'}\n"
    )
    assert "export tweets (parts of 200): 1 of 1" in output.err
    assert main(["export", str(tmp_path / "empty")]) == 1
    error = capsys.readouterr().err
    assert error == f"error: {tmp_path / 'empty'} is not an empty folder: name a new one\n"
    assert "tweets.csv" in folders(tmp_path / "empty")


def during(label: str, stores: StoreSettings, work: Any) -> Progress:
    """Does some work on the database, as another process would, when an export comes to a table."""

    def progress(items: Iterable[T], _total: int, shown: str) -> Iterable[T]:
        if shown.startswith(label):
            other = threading.Thread(target=in_transaction, args=(stores, work))
            other.start()
            other.join()
        return items

    return progress


def test_what_changes_meanwhile_leaves_no_loose_ends(full: StoreSettings, tmp_path: Path) -> None:
    """A tweet that was deleted with its picture, and new rows that refer to one another."""
    alone = picture("PNG", compress_level=1)
    blobs = BlobStore(full.image_store_url)
    key = blobs.put(alone)
    brief = {"tweet_id": "brief", "author_id": "ann", "text": "", "image_key": key, "created_at": AT}

    async def post(connection: AsyncConnection) -> None:
        await connection.execute(insert(Tweet).values(brief))
        await connection.execute(insert(Retweet).values(user_id="Bob", tweet_id="brief", created_at=AT))
        await connection.execute(insert(Hide).values(user_id="Bob", tweet_id="brief", created_at=AT))

    async def change(connection: AsyncConnection) -> None:
        for table in (Retweet, Hide, Tweet):
            await connection.execute(delete(table).where(table.tweet_id == "brief"))
        await connection.execute(insert(DeletedTweet).values(tweet_id="brief", deleted_at=AT))
        await connection.execute(insert(User).values(user_id="late", created_at=AT))
        await connection.execute(insert(Tweet).values(brief | {"tweet_id": "late", "author_id": "late"}))
        await connection.execute(insert(Retweet).values(user_id="ann", tweet_id="late", created_at=AT))
        blobs.delete(key)

    in_transaction(full, post)
    report = export(tmp_path / "out", full, progress=during("export follows", full, change))
    assert report.deleted_meanwhile == {"brief": AT}
    for name in ("tweets", "retweets", "hides"):
        assert not {"brief", "late"} & {row["tweet_id"] for row in lines(tmp_path / "out", name)}
    assert [row["user_id"] for row in lines(tmp_path / "out", "users")] == sorted(USERS)
    assert [row["tweet_id"] for row in lines(tmp_path / "out", "deleted_tweets")] == ["Gone-too", "brief", "gone"]
    with fresh_stores("embedded") as again:
        assert import_into(again, tmp_path / "out").rejected == {}


@pytest.mark.parametrize("damage", ["lost", "damaged"])
def test_a_lost_picture_is_said_and_nothing_is_written(full: StoreSettings, tmp_path: Path, damage: str) -> None:
    key = blob_key(PICTURES[2])
    (path,) = (full.var_dir / "images").rglob(key)
    path.unlink() if damage == "lost" else path.write_bytes(PICTURES[2][:-1])
    with pytest.raises(
        ExportFailed, match=r"pictures, or damaged ones, of 2 tweets \(Upper, cjk\): put the files back"
    ):
        export(tmp_path / "out", full)
    assert folders(tmp_path) == []


SLOW = """
import sys, time
from training import progress
from training.__main__ import main
def slow(items, total, label):
    if label.startswith("export retweets"):
        print("half", flush=True)
        time.sleep(8)  # the interruption is felt afterwards
    return items
progress.terminal = slow
sys.exit(main(["export", sys.argv[1]]))
"""


@pytest.fixture
def half(full: StoreSettings, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """An export into `out` that has come to the retweets."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children ignore it
    command = [sys.executable, "-c", SLOW, str(tmp_path / "out")]
    environment = os.environ | named(full)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, inherited)
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        yield process
        process.kill()


def test_an_interrupted_export_leaves_nothing(half: subprocess.Popen[str], tmp_path: Path) -> None:
    assert folders(tmp_path) == [".out.export"]
    half.send_signal(signal.SIGINT)
    assert half.wait(30) == 130
    assert folders(tmp_path) == []


def test_a_killed_export_is_cleared_by_the_next(
    half: subprocess.Popen[str], full: StoreSettings, tmp_path: Path
) -> None:
    with pytest.raises(ExportFailed, match=r"another export is writing .*out: wait for it"):
        export(tmp_path / "out", full)
    half.kill()
    half.wait(30)
    assert folders(tmp_path) == [".out.export"]
    (tmp_path / ".out.export" / "images" / "left.partial").write_text("left")
    export(tmp_path / "out", full)
    assert folders(tmp_path) == ["out"]
    export(tmp_path / "again", full)
    assert files(tmp_path / "out") == files(tmp_path / "again")
