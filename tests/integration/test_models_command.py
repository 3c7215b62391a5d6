"""python -m training models: all of its actions, some of them beside a service that runs."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.embedded import open_redis, redis_server
from contract.environment import StoreSettings
from tests.conftest import KINDS, fresh_stores, trained_stores
from tests.integration.running import Service, named, serving, until
from tests.unit.test_import_rejects import stored
from training.__main__ import main
from training.models import list_versions
from training.stores import with_stores

pytestmark = pytest.mark.anyio
USERS = [f"u{n:04}" for n in range(1, 20)]


@pytest.fixture(scope="module", params=KINDS)
def stores(request: pytest.FixtureRequest, tiny_network: Path) -> Iterator[StoreSettings]:
    """With three versions, of which the last one serves and the first one's vectors are gone."""
    with trained_stores(request.param, tiny_network, versions=3) as settings:
        yield settings


@pytest.fixture(autouse=True)
def environment(stores: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands' environment."""
    named(stores, monkeypatch)


@pytest.fixture
async def service(stores: StoreSettings) -> AsyncIterator[Service]:
    async with serving(stores) as started:
        yield started


def versions(stores: StoreSettings) -> dict[str, str]:
    """Status by version, in the order of the list."""
    known = with_stores(stores, lambda opened: list_versions(opened, stores.models_dir))
    return {one.version: one.status for one in known}


async def command(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["models", *arguments])


async def answers(service: Service) -> dict[str, dict[str, Any]]:
    """What users are recommended, less what has a time in it."""
    found = {}
    for user in USERS:
        answer = (await service.client.get(f"/users/{user}/recommendations", params={"k": 100})).json()
        del answer["next_cursor"]
        found[user] = answer
    return found


async def serves(service: Service, version: str) -> bool:
    return bool((await answers(service))[USERS[0]]["version"] == version)


def test_all_versions_are_listed(stores: StoreSettings, capsys: pytest.CaptureFixture[str]) -> None:
    found = versions(stores)
    assert list(found.values()) == ["active", "kept", "retired"]
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [list(pair) for pair in found.items()]
    assert all(str(stores.models_dir) in line for line in lines)


def test_a_version_is_shown_and_verified(stores: StoreSettings, capsys: pytest.CaptureFixture[str]) -> None:
    first = list(versions(stores))[-1]
    assert main(["models", "show", first]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["version"], shown["status"], shown["manifest"]["version"]) == (first, "retired", first)
    assert shown["metrics"]["amnl"]["auc"] == shown["manifest"]["metrics"]["amnl"]["auc"]
    assert main(["models", "verify", first]) == 0
    assert f"version {first} verifies" in capsys.readouterr().out
    assert main(["models", "verify", "unheard-of"]) == 1
    assert "manifest.json" in capsys.readouterr().err


def test_two_versions_are_compared(stores: StoreSettings, capsys: pytest.CaptureFixture[str]) -> None:
    latest, before, _ = versions(stores)
    assert main(["models", "compare", latest, before]) == 0
    there = capsys.readouterr().out
    assert main(["models", "compare", before, latest]) == 0
    back = capsys.readouterr().out
    pattern = (
        r"(\S+) beside (\S+): AUC ([\d.]+) beside ([\d.]+): ([+-][\d.]+) \(([+-][\d.]+) to ([+-][\d.]+), \d+ users\)\n"
    )
    one, other, *figures = re.fullmatch(pattern, there).groups()  # type: ignore[union-attr]  # it is checked so
    assert (one, other) == (latest, before)
    auc, other_auc, difference, low, high = map(float, figures)
    assert low <= difference <= high
    assert difference == pytest.approx(auc - other_auc, abs=2e-4)
    assert f"AUC {other_auc:.4f} beside {auc:.4f}: {-difference:+.4f}" in back
    assert main(["models", "compare", latest, "unheard-of"]) == 1
    assert "manifest.json" in capsys.readouterr().err


async def test_a_rollback_and_back_reach_a_service_that_runs(stores: StoreSettings, service: Service) -> None:
    latest, before, _ = await asyncio.to_thread(versions, stores)
    first = await answers(service)
    assert await serves(service, latest)
    assert await command("rollback") == 0
    await until(lambda: serves(service, before), 5)
    assert await command("activate", latest) == 0
    await until(lambda: serves(service, latest), 5)
    assert await answers(service) == first


def test_what_has_no_vectors_cannot_be_activated(stores: StoreSettings, capsys: pytest.CaptureFixture[str]) -> None:
    latest, _, retired = versions(stores)
    assert main(["models", "activate", retired]) == 1
    assert f"training publish {retired}" in capsys.readouterr().err
    assert main(["models", "activate", "unheard-of"]) == 1
    assert "models list" in capsys.readouterr().err
    assert versions(stores)[latest] == "active"


async def test_redis_is_written_anew(stores: StoreSettings, service: Service) -> None:
    latest, before, _ = await asyncio.to_thread(versions, stores)
    expected = await answers(service)
    assert await command("rollback") == 0
    await until(lambda: serves(service, before), 5)
    expected_before = await answers(service)
    assert await command("rollback") == 0
    await until(lambda: serves(service, latest), 5)
    for _ in range(2):
        with redis_server(stores) as (url, _):
            async with open_redis(url) as redis:
                keys = [key async for key in redis.scan_iter(f"{stores.redis_namespace}:*", count=1_000)]
                await redis.delete(*keys)
        assert await command("rebuild-redis") == 0
        assert await answers(service) == expected
        assert await command("rollback") == 0
        await until(lambda: serves(service, before), 5)
        assert await answers(service) == expected_before
        assert await command("rollback") == 0
        await until(lambda: serves(service, latest), 5)


def test_all_versions_are_reported(stores: StoreSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = versions(stores)
    assert len(known) == 3
    assert main(["models", "report", "--out", str(tmp_path / "out")]) == 0
    assert str(tmp_path / "out" / "index.html") in capsys.readouterr().out
    told = [json.loads(line) for line in (tmp_path / "out" / "versions.jsonl").read_text("utf-8").splitlines()]
    assert {one["version"]: one["status"] for one in told} == known
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    for one in told:
        assert one["version"] in page
        if "settings" not in one:
            continue
        assert [point["epoch"] for point in one["curve"]] == [1, 2]
        assert f"<td>{one['metrics']['amnl']['auc']:.3f}</td>".replace("0.", ".") in page
        best = max(point["auc"] for point in one["curve"])
        assert f"<td>{best:.3f}</td>".replace("0.", ".") in page
        if "gate" in one["metrics"]:
            assert f"{one['metrics']['gate']['difference']:+.3f}".lstrip("+-").replace("0.", ".") in page
    assert page.count("<svg") == 2
    assert '<th scope="col">seed</th>' in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_version_is_deleted_and_the_active_one_is_not(
    stores: StoreSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    latest, before, retired = versions(stores)
    assert main(["models", "delete", latest]) == 1
    assert "serves" in capsys.readouterr().err
    assert main(["models", "delete", before]) == 0
    assert versions(stores) == {latest: "active", retired: "retired"}
    assert main(["models", "rollback"]) == 1
    assert main(["models", "rebuild-redis"]) == 0
    assert "vectors of " + latest + ";" in capsys.readouterr().out
    (stores.models_dir / retired / "manifest.json").unlink()  # as where a deletion was killed
    for version in (retired,):
        assert main(["models", "delete", version]) == 0
        assert not (stores.models_dir / version).exists()
        assert main(["models", "delete", version]) == 1
    assert list(versions(stores)) == [latest]
    assert {row[0] for row in stored(stores)["tweet_vectors"]} == {latest}
    assert {row[0] for row in stored(stores)["model_versions"]} == {latest}
    capsys.readouterr()
    assert main(["models", "rollback"]) == 1
    assert "no version before" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["activate", "../x"], ["delete", "a/b"], ["show", ""], [], ["burn", "x"]])
def test_a_wrong_command_line_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["models", *arguments])
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err


def test_a_deployment_without_versions_has_nothing_to_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with fresh_stores("embedded") as empty:
        for name, value in empty.model_dump().items():
            monkeypatch.setenv(name.upper(), str(value))
            if value is None:
                monkeypatch.delenv(name.upper())
        assert main(["models", "report", "--out", str(tmp_path / "out")]) == 1
    assert "no version yet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
