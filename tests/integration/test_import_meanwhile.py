"""Rows that change while an import runs, case by case; tests/e2e has all of it at once, by real requests."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract import turns
from contract.environment import StoreSettings
from contract.errors import StoreUnavailable
from contract.graph import OnlineGraph
from contract.pending import PendingTweets
from contract.tables import DeletedTweet, Follow, Tweet, User, create_engine
from tests.conftest import fresh_stores, import_into
from tests.datasets import FORMATS, tables, tweet, write_folder
from tests.datasets import event as shown
from tests.integration.test_export import during
from tests.unit.test_import_rejects import stored
from training.errors import InputRejected
from training.importer import ImportReport, import_dataset
from training.stores import Stores, with_stores

AT = datetime(2026, 1, 2, tzinfo=UTC)
LATER = {"created_at": "2026-01-05T00:00:00Z"}

Change = Callable[[AsyncConnection], Awaitable[None]]


def all_tables() -> dict[str, Any]:
    rows = tables()
    rows["tweets"][0]["hidden_at"], rows["tweets"][1]["hidden_at"] = "2026-01-03T00:00:00Z", None
    rows["hides"] = [shown("cem", "t1"), shown("bob", "t1")]
    rows["deleted_tweets"] = [{"tweet_id": "gone", "deleted_at": "2026-01-03T00:00:00Z"}]
    return rows


def import_meanwhile(
    stores: StoreSettings, folder: Path, label: str, change: Change, rejects: Path | None
) -> ImportReport:
    """Import; another process makes a change before the rows of a table are stored."""
    progress = during(label, stores, change)
    return with_stores(stores, lambda opened: import_dataset(folder, opened, progress, rejects))


def posting(tweet_id: str) -> Change:
    """Somebody else posts a tweet."""

    async def post(connection: AsyncConnection) -> None:
        values = {"tweet_id": tweet_id, "author_id": "cem", "text": "Mine.", "image_key": "0", "created_at": AT}
        await connection.execute(insert(Tweet).values(values))

    return post


async def forget_t1(connection: AsyncConnection) -> None:
    """Its author deletes the tweet."""
    await connection.execute(delete(Tweet).where(Tweet.tweet_id == "t1"))
    await connection.execute(insert(DeletedTweet).values(tweet_id="t1", deleted_at=AT))


def reasons(rejects: Path) -> list[tuple[str, str]]:
    """Table and reason of each reject."""
    lines = [json.loads(line) for line in rejects.read_text("utf-8").splitlines()]
    return [(Path(line["file"]).stem, line["reason"]) for line in lines]


@pytest.mark.parametrize("kind", FORMATS)
def test_hides_and_hidden_and_deleted_tweets_are_stored(tmp_path: Path, kind: str) -> None:
    rows = all_tables()
    if kind == "csv":
        rows["tweets"][1]["hidden_at"] = ""
    if kind == "parquet":
        for name, time_ in (("tweets", "hidden_at"), ("deleted_tweets", "deleted_at")):
            for row in rows[name]:
                row[time_] = row[time_] and datetime.fromisoformat(row[time_])
    folder = write_folder(tmp_path / "data", rows, kind)
    with fresh_stores("embedded") as stores:
        report = import_into(stores, folder)
        assert (report.hides, report.deleted_tweets, report.known) == (2, 1, 0)
        found = stored(stores)
        assert import_into(stores, folder).known == 3 + 2 + 2 + 2 + 2 + 1
        assert stored(stores) == found

        async def hidden(opened: Stores) -> list[set[str]]:
            graph = OnlineGraph(opened.redis, opened.namespace)
            return [(await graph.user(user_id)).seen_tweet_ids for user_id in ("ann", "bob", "cem")]

        assert with_stores(stores, hidden) == [{"t1"}, {"t1", "t2"}, {"t1"}]
    assert [row[5] for row in found["tweets"]] == [datetime(2026, 1, 3, tzinfo=UTC), None]
    assert found["deleted_tweets"] == [("gone", datetime(2026, 1, 3, tzinfo=UTC), None)]


def test_what_hides_and_deleted_tweets_must_be(stores: StoreSettings, tmp_path: Path) -> None:
    rows = all_tables()
    rows["hides"] += [shown("nobody", "t1"), shown("ann", "nothing"), shown("cem", "t1")]
    rows["deleted_tweets"] += [{"tweet_id": "t1", "deleted_at": "2026-01-03T00:00:00Z"}]
    rows["tweets"][0]["hidden_at"] = "soon"
    rejects = tmp_path / "rejects.jsonl"
    report = import_into(stores, write_folder(tmp_path / "data", rows, "jsonl"), rejects)
    assert report.rejected == {"tweets": 1, "retweets": 1, "exposures": 1, "hides": 5}
    texts = dict(reasons(rejects))
    assert texts["tweets"].startswith("is no time: give ISO 8601")
    assert stored(stores)["deleted_tweets"][1][0] == "t1"
    more: dict[str, Any] = {name: [] for name in tables()} | {"deleted_tweets": [{"tweet_id": "t2", "deleted_at": AT}]}
    more["deleted_tweets"][0]["deleted_at"] = "2026-01-03T00:00:00Z"
    with pytest.raises(InputRejected, match=r"t2 is stored: an import deletes nothing: send DELETE /tweets/t2"):
        import_into(stores, write_folder(tmp_path / "more", more, "jsonl"))


def test_what_was_stored_meanwhile_stays(stores: StoreSettings, tmp_path: Path) -> None:
    async def same_rows(connection: AsyncConnection) -> None:
        await connection.execute(insert(User).values(user_id="ann", created_at=AT))
        await connection.execute(insert(User).values(user_id="bob", created_at=AT))
        await connection.execute(insert(Follow).values(follower_id="ann", followee_id="bob", created_at=AT))

    folder = write_folder(tmp_path / "data", tables(), "jsonl")
    report = import_meanwhile(stores, folder, "store users", same_rows, None)
    assert (report.users, report.follows, report.known, report.rejected) == (1, 1, 3, {})
    assert stored(stores)["users"][0][:2] == ("ann", AT)
    assert stored(stores)["follows"][0] == ("ann", "bob", AT)


def test_a_tweet_that_was_posted_meanwhile_is_kept_and_its_row_rejected(stores: StoreSettings, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", all_tables(), "jsonl")
    report = import_meanwhile(stores, folder, "store tweets", posting("t1"), tmp_path / "rejects.jsonl")
    assert (report.tweets, report.rejected) == (1, {"tweets": 1, "retweets": 1, "hides": 2})
    found = reasons(tmp_path / "rejects.jsonl")
    assert found[0] == (
        "tweets",
        "tweet_id t1 is stored with another author, text, image or time: give the new tweet an id of its own",
    )
    assert found[1] == ("retweets", f"t1 was rejected ({folder}/tweets.jsonl line 1): mend that row first")
    assert [row[:3] for row in stored(stores)["tweets"]] == [("t1", "cem", "Mine."), ("t2", "cem", "Calm lake.")]
    assert stored(stores)["hides"] == []


def test_a_tweet_that_was_deleted_meanwhile_stays_deleted(stores: StoreSettings, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", all_tables(), "jsonl")
    report = import_meanwhile(stores, folder, "store tweets", forget_t1, tmp_path / "rejects.jsonl")
    assert report.rejected == {"tweets": 1, "retweets": 1, "hides": 2}
    assert [row[0] for row in stored(stores)["tweets"]] == ["t2"]
    (picture,) = [path for path in (stores.var_dir / "images").rglob("*") if path.is_file()]
    assert picture.name == stored(stores)["tweets"][0][3]


def test_retweets_of_a_tweet_that_was_deleted_meanwhile_are_rejected(stores: StoreSettings, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", all_tables(), "jsonl")
    report = import_meanwhile(stores, folder, "store retweets", forget_t1, tmp_path / "rejects.jsonl")
    assert (report.tweets, report.rejected) == (2, {"retweets": 1, "hides": 2})
    assert {reason for _, reason in reasons(tmp_path / "rejects.jsonl")} == {"t1 was deleted meanwhile: remove the row"}
    assert [row[:2] for row in stored(stores)["retweets"]] == [("bob", "t2")]


def test_an_id_that_a_tweet_took_meanwhile_is_not_deleted(stores: StoreSettings, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", all_tables(), "jsonl")
    report = import_meanwhile(stores, folder, "store deleted", posting("gone"), tmp_path / "rejects.jsonl")
    assert (report.deleted_tweets, report.rejected) == (0, {"deleted_tweets": 1})
    assert stored(stores)["deleted_tweets"] == []


def test_a_strict_import_stops_at_what_changed_meanwhile_and_goes_on_later(
    stores: StoreSettings, tmp_path: Path
) -> None:
    async def post(connection: AsyncConnection) -> None:
        values = {"tweet_id": "t1", "author_id": "bob", "text": "Mine.", "image_key": "0", "created_at": AT}
        await connection.execute(insert(Tweet).values(values))

    folder = write_folder(tmp_path / "data", tables(), "jsonl")
    with pytest.raises(InputRejected, match=r"tweets.jsonl line 1: tweet_id t1 is stored with another"):
        import_meanwhile(stores, folder, "store tweets", posting("t1"), None)
    assert stored(stores)["retweets"] == []
    rows = tables()
    rows["tweets"][0] = tweet("t3", "bob")
    rows["retweets"][0] = shown("ann", "t3")
    del rows["exposures"]
    (folder / "exposures.jsonl").unlink()
    assert import_into(stores, write_folder(folder, rows, "jsonl")).retweets == 2


def test_a_stored_tweet_whose_picture_was_lost_gets_it_back(stores: StoreSettings, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", tables(), "jsonl")
    import_into(stores, folder)
    (picture,) = [path for path in (stores.var_dir / "images").rglob("*") if path.is_file()]
    picture.unlink()
    assert import_into(stores, folder).tweets == 0
    assert picture.read_bytes() == (folder / "red.png").read_bytes()


def test_services_hear_of_imported_tweets_once(stores: StoreSettings, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", tables(), "jsonl")

    async def run(opened: Stores) -> list[bool]:
        services = [PendingTweets(opened.redis, opened.namespace) for _ in range(2)]
        heard = [await service.announced() for service in services]
        await import_dataset(folder, opened, lambda items, _total, _label: items, None)
        for _ in range(2):
            heard += [await service.announced() for service in services]
        await import_dataset(folder, opened, lambda items, _total, _label: items, None)
        return [*heard, *[await service.announced() for service in services]]

    assert with_stores(stores, run) == [False, False, True, True, False, False, False, False]


@pytest.fixture
def locked(tmp_path: Path) -> Any:
    """A database that another process writes to for a second; who waits for it gives up after 50 ms."""
    path = tmp_path / "locked.sqlite3"
    engine = create_engine(f"sqlite+aiosqlite:///{path}")

    @event.listens_for(engine.sync_engine, "connect")
    def hurry(connection: Any, _record: object) -> None:
        connection.cursor().execute("PRAGMA busy_timeout=50")

    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE words (word TEXT)")
    return engine, other


async def closing(engine: AsyncEngine, work: Awaitable[int]) -> int:
    """In the loop that its connections belong to."""
    try:
        return await work
    finally:
        await engine.dispose()


async def add_word(connection: AsyncConnection) -> int:
    await connection.exec_driver_sql("INSERT INTO words VALUES ('late')")
    return 3


def test_a_turn_waits_until_the_database_is_free(locked: Any) -> None:
    engine, other = locked

    async def run() -> int:
        other.execute("BEGIN IMMEDIATE")
        turn = asyncio.create_task(turns.take_turn(engine, add_word))
        await asyncio.sleep(1)
        assert not turn.done()
        other.commit()
        return await turn

    assert asyncio.run(closing(engine, run())) == 3
    assert other.execute("SELECT word FROM words").fetchall() == [("late",)]
    other.close()


def test_a_turn_that_never_comes_is_said(locked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, other = locked
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.3)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="locked by others for 0 s: run the same command again"):
        asyncio.run(closing(engine, turns.take_turn(engine, add_word)))
    assert time.monotonic() - started < 5
    other.rollback()
    other.close()
