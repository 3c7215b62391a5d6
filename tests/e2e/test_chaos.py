"""The short form of `make chaos`: most faults once, under load, on both kinds of database."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract.environment import StoreSettings
from tests.chaos.__main__ import main
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.runs import KINDS, Row, plain_site, proxied_site, run_ends, run_fault, run_pair, shortcomings
from tests.chaos.site import Valkey, valkey
from tests.conftest import copied_stores

ENDS = 2


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def original(request: pytest.FixtureRequest, database: str) -> StoreSettings:
    stores: StoreSettings = request.getfixturevalue(f"trained_{KINDS[database]}")
    return stores


def shorter(fault: Fault) -> float:
    """What hangs must hang for longer than it is waited for."""
    return min(fault.seconds, 2.5 if fault.name == "Redis hangs" else 1.0)


def nothing_lost(rows: list[Row]) -> None:
    for row in rows:
        assert shortcomings(row) == [], row


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({"wrong": ["503"]}, ["503"]),
        ({"lost": 1}, ["1 lost, 0 twice"]),
        ({"duplicated": 2}, ["0 lost, 2 twice"]),
        ({"acknowledged": 0}, ["no write was acknowledged: nothing was tried"]),
        ({"heal_seconds": 120.0}, ["healed after 120.0 s"]),
        ({"heal_seconds": float("nan")}, ["healed after nan s"]),
    ],
)
def test_what_is_not_as_it_must_be_is_said(changed: dict[str, Any], said: list[str]) -> None:
    row = Row("a fault", "sqlite", 1, 10, 0, 0, 1.0, 2.0, 0.1, 0.0, [])
    assert shortcomings(replace(row, **changed)) == said


@pytest.mark.parametrize("options", [["--only", "typo"], ["--only", "killed", "--kills", "0", "--runs", "0"]])
def test_a_name_that_no_fault_has_is_an_error(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["chaos", *options, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, f"--only '{options[1]}' is in the name of no fault" in capsys.readouterr().err) == (
        2,
        True,
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_service_that_ends_loses_nothing(original: StoreSettings, database: str, number: signal.Signals) -> None:
    async def run(stores: StoreSettings) -> Row:
        async with plain_site(stores) as site:
            return await run_ends(database, site, number, ENDS, seed=1)

    with copied_stores(original) as stores:
        row = asyncio.run(run(stores))
    nothing_lost([row])
    assert number == signal.SIGKILL or row.reads_answered == 1


@pytest.mark.timeout(300)
def test_one_of_two_services_that_is_killed_loses_nothing(
    original: StoreSettings, database: str, tmp_path: Path
) -> None:
    with valkey(tmp_path / "valkey") as server, copied_stores(original, server.url) as stores:
        nothing_lost([asyncio.run(run_pair(database, stores, server, ENDS, seed=1))])


@pytest.mark.timeout(600)
def test_what_the_service_needs_fails_and_reads_go_on(original: StoreSettings, database: str, tmp_path: Path) -> None:
    faults = [replace(fault, seconds=shorter(fault)) for fault in FAULTS if fault.short and database in fault.databases]

    async def run(stores: StoreSettings, server: Valkey) -> list[Row]:
        async with proxied_site(stores, server) as site:
            return [await run_fault(fault, database, site, 1) for fault in faults]

    with valkey(tmp_path / "valkey") as server, copied_stores(original, server.url) as stores:
        rows = asyncio.run(run(stores, server))
    nothing_lost(rows)
    assert {row.fault: row.reads_answered for row in rows} == {fault.name: 1.0 for fault in faults}
