"""The schema: what code and migrations say is the same, and data outlives every step up and down."""

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import insert, make_url, update

from alembic import command, op
from contract import migrate
from contract.environment import StoreSettings
from contract.errors import StoreUnavailable
from contract.tables import (
    SCHEMA_REVISION,
    ApiKey,
    Base,
    DeletedTweet,
    DeletedUser,
    Hide,
    ModelVersion,
    Retweet,
    Tweet,
    TweetVector,
    User,
    open_database,
)
from tests.conftest import KINDS, ROOT, copied_stores, fresh_stores, import_into
from tests.integration.running import serving
from tests.unit.test_import_rejects import stored
from training.stores import Stores, with_stores

Row = dict[str, Any]

REVISIONS = ["0001", "0002", "0003", "0004", "0005", "0006", "0007"]
LOST_ON_THE_WAY_DOWN: dict[str, set[str]] = {
    "hides": set(),
    "deleted_tweets": set(),
    "deleted_users": set(),
    "api_keys": set(),
    "tweets": {"hidden_at"},
    "retweets": {"recommended_by"},
    "model_versions": {"share", "on_trial_since"},
    "users": {"leaving_at"},
}
"""What the first revision has not: of a table these columns, or all of it."""


@pytest.fixture
def config() -> Config:
    return Config(ROOT / "alembic.ini")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def migrated(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreSettings]:
    """Empty stores with the newest schema; alembic works on them."""
    with fresh_stores(kind) as stores:
        pointed_at(stores, monkeypatch)
        yield stores


def pointed_at(stores: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAR_DIR", str(stores.var_dir))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if stores.database_url is not None:
        monkeypatch.setenv("DATABASE_URL", stores.database_url)


def test_there_is_one_line_of_revisions_up_to_the_one_that_the_code_needs(config: Config) -> None:
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    assert [script.revision for script in reversed(scripts)] == REVISIONS
    assert REVISIONS[-1] == SCHEMA_REVISION


@pytest.mark.usefixtures("migrated")
def test_the_migrations_make_what_the_code_has(config: Config) -> None:
    command.check(config)


@pytest.mark.usefixtures("migrated")
def test_a_drift_would_be_seen(config: Config) -> None:
    command.downgrade(config, "0004")
    with pytest.raises(CommandError, match="not up to date"):
        command.check(config)
    command.stamp(config, "head")
    with pytest.raises(CommandError, match="recommended_by"):
        command.check(config)


def test_data_outlives_every_step(migrated: StoreSettings, config: Config, tiny_network: Path) -> None:
    import_into(migrated, tiny_network)
    with_stores(migrated, add_what_is_missing)
    before = named_rows(migrated)
    assert unfilled(before) == []
    for revision in reversed(REVISIONS[:-1]):
        command.downgrade(config, revision)
    for revision in REVISIONS[1:]:
        command.upgrade(config, revision)
    command.check(config)
    assert named_rows(migrated) == {table: kept(table, rows) for table, rows in before.items()}


async def add_what_is_missing(stores: Stores) -> None:
    """Of tables and columns, beside an imported network."""
    at = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    metrics = {"amnl": {"auc": 0.75}}
    new: list[tuple[type[Base], Row]] = [
        (ModelVersion, {"version": "v1", "activated_at": at, "metrics": metrics, "share": 0.1, "on_trial_since": at}),
        (TweetVector, {"version": "v1", "tweet_id": "t0001", "vector": b"\x00\xff\n"}),
        (Hide, {"user_id": "u0001", "tweet_id": "t0001"}),
        (DeletedTweet, {"tweet_id": "gone", "deleted_at": at, "image_key": "a" * 64}),
        (DeletedUser, {"user_sha256": "b" * 64, "deleted_at": at}),
        (ApiKey, {"key_id": "k1", "name": "an app", "scopes": "read", "secret_sha256": "c" * 64, "per_minute": 5}),
    ]
    async with stores.engine.begin() as connection:
        for table, row in new:
            more = {"created_at": at} if "created_at" in table.__table__.columns else {}
            await connection.execute(insert(table).values(**row, **more))
        await connection.execute(update(ApiKey).values(revoked_at=at))
        await connection.execute(update(User).where(User.user_id == "u0002").values(leaving_at=at))
        await connection.execute(update(Tweet).where(Tweet.tweet_id == "t0002").values(hidden_at=at))
        await connection.execute(update(Retweet).where(Retweet.user_id == "u0003").values(recommended_by="v1"))


def named_rows(stores: StoreSettings) -> dict[str, list[Row]]:
    """All rows by table, with the names of their columns."""
    names = {table.name: [column.name for column in table.columns] for table in Base.metadata.sorted_tables}
    return {name: [dict(zip(names[name], row, strict=True)) for row in rows] for name, rows in stored(stores).items()}


def unfilled(tables: dict[str, list[Row]]) -> list[str]:
    """Columns without a value in any row."""
    columns = [(table.name, column.name) for table in Base.metadata.sorted_tables for column in table.columns]
    return [f"{table}.{name}" for table, name in columns if all(row[name] is None for row in tables[table])]


def kept(table: str, rows: list[Row]) -> list[Row]:
    """What is left of a table's rows that went all the way down and up."""
    if table not in LOST_ON_THE_WAY_DOWN:
        return rows
    lost = LOST_ON_THE_WAY_DOWN[table]
    return [row | dict.fromkeys(lost) for row in rows] if lost else []


def test_a_service_answers_the_same_after_a_step_down_and_up(
    request: pytest.FixtureRequest, kind: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with copied_stores(request.getfixturevalue(f"trained_{kind}")) as stores:
        pointed_at(stores, monkeypatch)
        before = asyncio.run(answers(stores))
        command.downgrade(config, "0004")
        command.upgrade(config, "head")
        assert asyncio.run(answers(stores)) == before


async def answers(stores: StoreSettings) -> list[Any]:
    async with serving(stores) as service:
        return [await service.recommended(f"u{n:04}", 10) for n in range(1, 21)]


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("base", "no schema, .*: run `alembic upgrade head`"),
        ("0004", "schema 0004, .*: run `alembic upgrade head`"),
        ("9999", "schema 9999, .*newer than this code: install the release that made it"),
    ],
)
def test_another_schema_stops_the_start_and_the_trainer(
    migrated: StoreSettings, config: Config, revision: str, said: str
) -> None:
    if revision == "9999":
        stamp(migrated, revision)
    else:
        command.downgrade(config, revision)

    async def start() -> None:
        async with serving(migrated):
            pytest.fail("it started")

    async def nothing(_: object) -> None:
        pytest.fail("it started")

    with pytest.raises(StoreUnavailable, match=said):
        asyncio.run(start())
    with pytest.raises(StoreUnavailable, match=said):
        with_stores(migrated, nothing)


def test_a_url_of_no_database_is_named() -> None:
    async def open_it() -> None:
        async with open_database(StoreSettings(database_url="postgresql://u:hushhush@h:abc/db").sqlalchemy_url):
            pytest.fail("it opened")

    with pytest.raises(StoreUnavailable, match=r"DATABASE_URL cannot be used .*abc.*: use postgresql://") as caught:
        asyncio.run(open_it())
    assert "hushhush" not in str(caught.value)


def stamp(stores: StoreSettings, revision: str) -> None:
    """As a migration of a later release leaves it."""
    url = make_url(stores.sqlalchemy_url)
    if stores.database_url is None:
        with sqlite3.connect(str(url.database)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    else:
        with psycopg.connect(stores.database_url) as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))


@pytest.mark.usefixtures("migrated")
def test_a_migration_that_fails_half_way_changes_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    command.downgrade(config, "0004")

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("out of room")

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_index", fails)
        with pytest.raises(RuntimeError, match="out of room"):
            command.upgrade(config, "head")
    command.upgrade(config, "head")
    command.check(config)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DATABASE_URL", "postgresql://u:hushhush@127.0.0.1:1/x", r"connection failed: .*\): check DATABASE_URL"),
        ("DATABASE_URL", "nonsense://u:hushhush@h/x", r"Can't load plugin: .*nonsense\): check DATABASE_URL"),
        ("DATABASE_URL", "postgresql://u:hushhush@h:abc/x", r"'abc'\): check DATABASE_URL"),
        ("DATABASE_URL", "sqlite:////no-such-folder/x", r"unable to open database file\): check DATABASE_URL"),
        ("REDIS_NAMESPACE", "a b", "REDIS_NAMESPACE: "),
    ],
)
def test_a_database_that_cannot_be_migrated_is_one_line_that_names_the_variable(
    variable: str,
    value: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VAR_DIR", str(tmp_path))
    monkeypatch.setenv(variable, value)
    assert migrate.main([]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(f"error: .*{said}.*\n", error)
    assert "hushhush" not in error


def test_a_wrong_option_of_the_migration_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        migrate.main(["--sql"])
    this = "python -m contract.migrate"
    assert capsys.readouterr() == ("", f"error: --sql is no option of `{this}`: see `{this} --help`\n")


def test_a_migration_that_fails_shows_where_with_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////no-such-folder/x")
    assert migrate.main(["--debug"]) == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("Traceback")
    assert last.startswith("error: the database cannot be migrated")


def test_a_database_of_a_later_release_is_left_alone(
    migrated: StoreSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    stamp(migrated, "9999")
    assert migrate.main([]) == 1
    assert capsys.readouterr().err.endswith(
        "'9999': the database may be newer than this code: install the release that made it\n"
    )
