"""--json of every verb: one object on standard output with the fields that its help names, and nothing else there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import service.__main__
import service.cli
import training.__main__
import training.cli
from contract.cli.result import told_fields
from contract.environment import StoreSettings
from tests.conftest import fresh_stores
from tests.integration.running import named
from training import reproduce as reproduction
from training import tune as tuning
from training.reproduce import Run

TINY = ["--backbone", "tiny", "--dim", "8", "--text-dim", "8", "--word-dim", "8", "--epochs", "1"]
Told = Callable[..., dict[str, Any]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a verb; of every one that has been run there is a name in `told.verbs`."""

    def run(module: str, verb: str, *arguments: str) -> dict[str, Any]:
        main, program = {
            "training": (training.__main__.main, training.cli.PROGRAM),
            "service": (service.__main__.main, service.cli.PROGRAM),
        }[module]
        capsys.readouterr()
        status = main([*verb.split(), *arguments, "--json"])
        output = capsys.readouterr()
        assert status == 0, output.err
        (result,) = [known.result for known in program.verbs if known.name == verb]
        assert result is not None
        answer: dict[str, Any] = json.loads(output.out)
        assert set(answer) == set(told_fields(result))
        run.verbs.add((module, verb))  # type: ignore[attr-defined]
        return answer

    run.verbs = set()  # type: ignore[attr-defined]
    return run


def test_every_verb_tells_its_result_as_json(
    named_stores: StoreSettings, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made"
    made = told("training", "synthesize", str(folder), "--users", "60", "--tweets", "80")
    assert (made["folder"], made["users"], made["tweets"]) == (str(folder), 60, 80)
    imported = told("training", "import", str(folder))
    assert (imported["users"], imported["rejected"], imported["rejects_file"]) == (60, {}, None)
    adopted = told("training", "adopt", str(folder / "images"), str(tmp_path / "adopted"))
    assert (adopted["tweets"], sum(adopted["kinds"].values()), adopted["left_out"]) == (80, 80, {})
    assert told("training", "demo", str(folder))["ask"].startswith("curl -s ")
    rows = told("training", "export", str(tmp_path / "exported"))["rows"]
    assert (rows["users"], rows["tweets"], rows["retweets"]) == (60, 80, made["retweets"])
    first, second = versions(told, named_stores, tmp_path)
    encoded = told("training", "encode")
    assert (encoded["version"], encoded["encoded"], encoded["known"]) == (first, 0, 80)
    backups(told, tmp_path, monkeypatch)
    named(named_stores, monkeypatch)
    assert told("training", "models delete", second)["folder"] == str(named_stores.models_dir / second)
    assert [one["version"] for one in told("training", "models list")["versions"]] == [first]
    comparisons(told, folder, tmp_path, monkeypatch)
    keys(told)
    assert "complete" in told("training", "completion", "bash")["script"]
    assert told("service", "completion", "zsh")["shell"] == "zsh"
    assert told.verbs == {  # type: ignore[attr-defined]
        (program.module, verb.name)
        for program in (training.cli.PROGRAM, service.cli.PROGRAM)
        for verb in program.verbs
        if verb.result is not None
    }


def versions(told: Told, stores: StoreSettings, tmp_path: Path) -> tuple[str, str]:
    """Two, of which the first serves in the end."""
    retrained = told("training", "retrain", *TINY)
    first = retrained["version"]
    assert (retrained["published"], retrained["gate"], retrained["folder"]) == (
        True,
        None,
        str(stores.models_dir / first),
    )
    assert 0 <= retrained["metrics"]["amnl"]["auc"] <= 1
    dry = told("training", "retrain", *TINY, "--seed", "1", "--force", "--dry-run")
    second = dry["version"]
    assert (dry["published"], dry["new_vectors"], dry["gate"]["active"]) == (False, None, first)
    assert told("training", "publish", second)["new_vectors"] == 80
    listed = told("training", "models list")["versions"]
    assert [(one["version"], one["status"]) for one in listed] == [(second, "active"), (first, "kept")]
    shown = told("training", "models show", first)
    assert (shown["manifest"]["version"], shown["metrics"]["amnl"]) == (first, retrained["metrics"]["amnl"])
    assert 0 <= told("training", "models verify", first)["largest_difference"] < 1e-3
    compared = told("training", "models compare", second, first)
    assert compared["difference"] == pytest.approx(compared["auc"] - compared["other_auc"])
    assert compared["difference_low"] <= compared["difference"] <= compared["difference_high"]
    assert told("training", "models rollback")["version"] == first
    assert told("training", "models activate", second)["version"] == second
    begun = told("training", "models trial", first, "--share", ".5")
    assert (begun["version"], begun["share"], begun["arms"]) == (first, 0.5, None)
    so_far = told("training", "models trial")
    assert [arm["version"] for arm in so_far["arms"]] == [second, first]
    assert so_far["difference"] is None
    assert told("training", "models end-trial") == {"ended": True}
    assert told("training", "models report", "--out", str(tmp_path / "report"))["versions"] == 2
    assert told("training", "models redact")["versions"] == []
    assert told("training", "models rebuild-redis")["versions"] == [second, first]
    assert told("training", "models rollback")["version"] == first
    return first, second


def backups(told: Told, tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    """There and back."""
    kept = told("training", "backup", str(tmp_path / "kept"))
    assert (kept["place"], kept["rows"]["users"], kept["left_out"]) == (str(tmp_path / "kept"), 60, 0)
    with fresh_stores("embedded") as bare:
        named(bare, patch)
        restored = told("training", "restore", str(tmp_path / "kept"))
    assert (restored["wrote_sql"], restored["not_written"]) == (True, {})
    assert {name: restored[name] for name in ("rows", "pictures", "models", "created_at")} == {
        name: kept[name] for name in ("rows", "pictures", "models", "created_at")
    }


def comparisons(told: Told, folder: Path, tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    """Of few systems, and few settings."""
    rows = told("training", "evaluate", "--data", str(folder), "--systems", "ease")["systems"]
    assert {row["system"]: row["why_not"] for row in rows}["ease"] is None
    assert all(0 <= row["metrics"]["auc"] <= 1 for row in rows)
    patch.setattr(tuning, "grid", lambda *_: [{"l2": 20.0}, {"l2": 50.0}])
    out = tmp_path / "tuned.json"
    tuned = told("training", "tune", "--data", str(folder), "--systems", "ease", "--out", str(out))
    assert [trial["settings"] for trial in tuned["trials"]] == [{"l2": 20.0}, {"l2": 50.0}]
    assert (tuned["out"], Path(tuned["log"]).is_file()) == (str(out), True)
    patch.setattr(reproduction, "plan", lambda *_: [Run("made", 80, "random", 0)])
    page = told("training", "reproduce", "--data", str(folder), "--out", str(tmp_path / "reproduction"))
    assert all(Path(path).exists() for path in page.values())


def keys(told: Told) -> None:
    """One, made, listed and revoked."""
    key = told("service", "keys create", "an app", "--scopes", "read,write", "--per-minute", "5")["key"]
    (listed,) = told("service", "keys list")["keys"]
    assert (listed["name"], listed["scopes"], listed["per_minute"]) == ("an app", ["read", "write"], 5)
    assert listed["key_id"] == key.split("_")[1]
    assert told("service", "keys revoke", listed["key_id"]) == {"key_id": listed["key_id"]}
    assert told("service", "keys list") == {"keys": []}
