"""What an import does with bad rows, and with a folder in each format."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from contract.environment import StoreSettings
from contract.tables import Base, DeletedTweet, open_database
from tests.conftest import fresh_stores, import_into
from tests.datasets import FORMATS, Rows, event, tables, tweet, write_folder
from training.__main__ import main
from training.dataset.arrays import network_of_folder
from training.dump import snapshot
from training.errors import InputRejected
from training.network import load_network
from training.stores import Stores, with_stores


def stored(stores: StoreSettings) -> dict[str, list[tuple[Any, ...]]]:
    """All rows by table, in order, as they were at one moment."""

    async def run() -> dict[str, list[tuple[Any, ...]]]:
        async with open_database(stores.sqlalchemy_url) as engine, snapshot(engine) as connection:
            return {
                table.name: sorted(tuple(row) for row in await connection.execute(select(table)))
                for table in Base.metadata.sorted_tables
            }

    return asyncio.run(run())


def counts(stores: StoreSettings) -> list[int]:
    rows = stored(stores)
    return [len(rows[name]) for name in ("users", "follows", "tweets", "retweets")]


def test_every_format_stores_the_same_rows(tmp_path: Path) -> None:
    found = []
    for kind in FORMATS:
        with fresh_stores("embedded") as stores:
            import_into(stores, write_folder(tmp_path / kind, tables(), kind))
            found.append(stored(stores))
    assert found[0] == found[1] == found[2]
    assert len(found[0]["tweets"]) == 2


def test_a_folder_and_its_import_are_the_same_network(stores: StoreSettings, tiny_network: Path) -> None:
    import_into(stores, tiny_network)

    async def digest() -> str:
        async with open_database(stores.sqlalchemy_url) as engine:
            return (await load_network(engine)).snapshot().digest

    assert network_of_folder(tiny_network)[0].snapshot().digest == asyncio.run(digest())


def test_good_rows_are_stored_and_bad_ones_listed(stores: StoreSettings, tmp_path: Path) -> None:
    rows = tables()
    rows["tweets"] += [tweet("t3", "ann", image="broken.png"), tweet("t4", "ann")]
    rows["retweets"] += [event("bob", "t3"), event("bob", "t4"), event("ann", "t1")]
    folder = write_folder(tmp_path / "data", rows, "jsonl")
    (folder / "broken.png").write_bytes((folder / "red.png").read_bytes()[:50])
    report = import_into(stores, folder, tmp_path / "lists" / "rejects.jsonl")
    assert (report.users, report.follows, report.tweets, report.retweets) == (3, 2, 3, 3)
    assert report.rejected == {"tweets": 1, "retweets": 2}
    assert counts(stores) == [3, 2, 3, 3]
    lines = [json.loads(line) for line in (tmp_path / "lists" / "rejects.jsonl").read_text().splitlines()]
    assert [(Path(line["file"]).name, line["line"], line["field"]) for line in lines] == [
        ("tweets.jsonl", 3, "image"),
        ("retweets.jsonl", 3, "tweet_id"),
        ("retweets.jsonl", 5, None),
    ]
    assert "damaged or cut short" in lines[0]["reason"]
    assert [line["row"] for line in lines] == [rows["tweets"][2], rows["retweets"][2], rows["retweets"][4]]


def test_an_older_list_does_not_outlive_a_clean_import(stores: StoreSettings, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    rejects.write_text("of last week\n")
    assert import_into(stores, write_folder(tmp_path / "data", tables(), "csv"), rejects).rejected == {}
    assert rejects.read_text() == ""


def test_a_tweet_stored_with_other_content_is_rejected_and_so_are_its_retweets(
    stores: StoreSettings, tmp_path: Path
) -> None:
    import_into(stores, write_folder(tmp_path / "data", tables(), "jsonl"))
    before = stored(stores)
    rows = tables()
    rows["tweets"][0]["text"] = "Other words."
    rows["retweets"].append(event("cem", "t1"))
    report = import_into(stores, write_folder(tmp_path / "data", rows, "jsonl"), tmp_path / "rejects.jsonl")
    assert report.rejected == {"tweets": 1, "retweets": 2, "exposures": 1}
    assert stored(stores) == before


def test_a_deleted_tweet_does_not_come_back(stores: StoreSettings, tmp_path: Path) -> None:
    async def delete(opened: Stores) -> None:
        async with opened.engine.begin() as connection:
            await connection.execute(insert(DeletedTweet).values(tweet_id="t1", deleted_at=datetime.now(UTC)))

    with_stores(stores, delete)
    folder = write_folder(tmp_path / "data", tables(), "jsonl")
    report = import_into(stores, folder, tmp_path / "rejects.jsonl")
    assert report.rejected["tweets"] == 1
    assert "t1 was deleted" in (tmp_path / "rejects.jsonl").read_text()
    assert "t1" not in {row[0] for row in stored(stores)["tweets"]}


def test_a_retweet_before_a_stored_tweet_is_rejected(stores: StoreSettings, tmp_path: Path) -> None:
    import_into(stores, write_folder(tmp_path / "data", tables(), "jsonl"))
    more: dict[str, Rows] = {name: [] for name in tables()} | {"retweets": [event("cem", "t1", "2026-01-01T00:00:00Z")]}
    with pytest.raises(InputRejected, match=r"retweets.jsonl line 1, field created_at: .* lies before the tweet's"):
        import_into(stores, write_folder(tmp_path / "more", more, "jsonl"))


def all_bad(folder: Path) -> None:
    for path in folder.glob("*.jsonl"):
        path.write_text(path.read_text().replace("2026", "soon"))


def one_unreadable(folder: Path) -> None:
    path = folder / "retweets.jsonl"
    path.write_bytes(path.read_bytes() + b"\xff\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [(all_bad, r"all 12 rows are rejected, the first is .*users.jsonl line 1"), (one_unreadable, "is not UTF-8")],
)
def test_nothing_is_stored_where_nothing_is_good(
    stores: StoreSettings, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = write_folder(tmp_path / "data", tables(), "jsonl")
    damage(folder)
    with pytest.raises(InputRejected, match=message):
        import_into(stores, folder, tmp_path / "rejects.jsonl")
    assert counts(stores) == [0, 0, 0, 0]
    assert not [path for path in (stores.var_dir / "images").rglob("*") if path.is_file()]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Embedded stores that this process's environment names, and a folder `data` with one bad follow."""
    rows = tables()
    rows["follows"].append({"follower_id": "ann", "followee_id": "ann", "created_at": "2026-01-01T00:00:00Z"})
    write_folder(tmp_path / "data", rows, "csv")
    with fresh_stores("embedded") as stores:
        for name in ("DATABASE_URL", "REDIS_URL", "BLOB_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("VAR_DIR", str(stores.var_dir))
        yield stores


def test_the_command_names_the_list(
    environment: StoreSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(tmp_path / "data")]) == 0
    (rejects,) = (environment.var_dir / "rejects").glob("data-*.jsonl")
    output = capsys.readouterr().out
    assert f"REJECTED 1 rows (1 of follows): see {rejects}" in output
    assert "3 new users, 2 follows, 2 image tweets and 2 retweets; 0 rows were stored already" in output
    assert "checked 3 exposures" in output
    assert len(rejects.read_text().splitlines()) == 1


def test_the_command_lists_where_it_is_told(environment: StoreSettings, tmp_path: Path) -> None:
    assert main(["import", str(tmp_path / "data"), "--rejects", str(tmp_path / "list.jsonl")]) == 0
    assert json.loads((tmp_path / "list.jsonl").read_text())["field"] == "followee_id"
    assert not (environment.var_dir / "rejects").exists()


def test_the_strict_command_stops(
    environment: StoreSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(tmp_path / "data"), "--strict"]) == 1
    assert f"error: {tmp_path}/data/follows.csv line 4, field followee_id: " in capsys.readouterr().err
    assert counts(environment) == [0, 0, 0, 0]


def test_strict_has_no_list(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["import", str(tmp_path), "--strict", "--rejects", "list.jsonl"])
    assert caught.value.code == 2
