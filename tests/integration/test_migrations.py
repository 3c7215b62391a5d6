"""The schema: what code and migrations say is the same, and data outlives every step up and down."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import make_url

from alembic import command, op
from contract.environment import StoreSettings
from contract.errors import StoreUnavailable
from contract.tables import SCHEMA_REVISION
from tests.conftest import KINDS, ROOT, copied_stores, fresh_stores, import_into
from tests.integration.running import serving
from tests.unit.test_import_rejects import stored
from training.stores import with_stores

REVISIONS = ["0001", "0002", "0003", "0004", "0005"]
LOST_ON_THE_WAY_DOWN = {"hides", "deleted_tweets", "api_keys"}
"""Tables that the first revision has not."""


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
    before = stored(migrated)
    assert len(before["retweets"]) > 100
    for revision in reversed(REVISIONS[:-1]):
        command.downgrade(config, revision)
    for revision in REVISIONS[1:]:
        command.upgrade(config, revision)
    command.check(config)
    after = stored(migrated)
    assert {name: rows for name, rows in after.items() if name not in LOST_ON_THE_WAY_DOWN} == {
        name: rows for name, rows in before.items() if name not in LOST_ON_THE_WAY_DOWN
    }


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
    ("revision", "advice"),
    [("0004", "run `alembic upgrade head`"), ("9999", "newer than this code: install the release that made it")],
)
def test_another_schema_stops_the_start_and_the_trainer(
    migrated: StoreSettings, config: Config, revision: str, advice: str
) -> None:
    if revision < SCHEMA_REVISION:
        command.downgrade(config, revision)
    else:
        stamp(migrated, revision)

    async def start() -> None:
        async with serving(migrated):
            pytest.fail("it started")

    async def nothing(_: object) -> None:
        pytest.fail("it started")

    with pytest.raises(StoreUnavailable, match=f"schema {revision}, .*{advice}"):
        asyncio.run(start())
    with pytest.raises(StoreUnavailable, match=f"schema {revision}, .*{advice}"):
        with_stores(migrated, nothing)


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
