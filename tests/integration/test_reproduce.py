"""evaluate and reproduce on a made network, from the command line."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import pytest

from contract.progress import silent
from tests.unit.test_public import flickr_likes, write_flickr
from training import reproduce as reproduction
from training.__main__ import main
from training.baselines.settings import BaselineSettings
from training.reproduce import Run, Sources, is_made, make, plan, reproduce
from training.runs import diverged, read_runs, unfinished
from training.systems import IN_TEST, PLACEBOS, SYSTEMS, VARIANTS, tuned

T = TypeVar("T")


@pytest.fixture(autouse=True)
def var_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAR_DIR", str(tmp_path_factory.getbasetemp() / "reproduce-var"))


def test_evaluate_prints_rows_ceilings_and_systems(tiny_network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--data", str(tiny_network), "--systems", "ease"]) == 0
    printed = capsys.readouterr().out.splitlines()
    auc = {line[:30].strip(): float(line.split()[-3]) for line in printed[1:]}
    assert list(auc)[:4] == ["random", "popularity", "recency", "followee count"]
    assert {"bayes (ceiling)", "content only (ceiling)", "uniform attention (ceiling)", "ease"} < set(auc)
    assert auc["bayes (ceiling)"] > max(auc["random"], auc["popularity"]) + 0.1


def test_a_name_that_is_no_system_is_one_line(tiny_network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--data", str(tiny_network), "--systems", "amlet"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: --systems: amlet is none of amnl,")


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [("--seeds", "0", "at least 1"), ("--split", "100", "from 1 to 99"), ("--split", "x", "x is no whole number")],
)
def test_a_number_that_cannot_be_is_one_line(
    option: str, value: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--data", "anywhere", option, value])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err.splitlines()[-1]


def test_a_system_that_is_not_for_the_network_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_flickr(tmp_path, *flickr_likes())
    assert main(["evaluate", "--kind", "flickr", "--data", str(folder), "--systems", "vbpr"]) == 0
    printed = capsys.readouterr().out
    assert "vbpr                         not for this network: vbpr needs dense features" in printed
    assert "recency" not in printed


def test_evaluate_judges_by_the_secondary_protocol(tiny_network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = {}
    for protocol in ("primary", "secondary"):
        assert main(["evaluate", "--data", str(tiny_network), "--protocol", protocol]) == 0
        printed[protocol] = capsys.readouterr().out.splitlines()
    assert [line[:30] for line in printed["secondary"]] == [line[:30] for line in printed["primary"]]
    assert printed["secondary"] != printed["primary"]


@pytest.mark.parametrize("kind", ["lastfm", "flickr"])
def test_the_secondary_protocol_is_for_made_networks(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--data", str(tmp_path), "--kind", kind, "--protocol", "secondary"]) == 1
    assert capsys.readouterr().err.startswith(f"error: --protocol secondary is for --kind made alone, not for {kind}")


def test_reproduce_goes_on_where_it_was(
    tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sources = Sources(tiny_network, tmp_path_factory.getbasetemp() / "reproduce-var" / "features")
    few = [Run("made", 80, system, seed) for system in ("random", "popularity", "famf") for seed in (0, 1)]
    monkeypatch.setattr(reproduction, "plan", lambda *_: few[:4])
    page = reproduce(sources, tmp_path, 2, quick=False, progress=silent)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/run.json")}
    monkeypatch.setattr(reproduction, "plan", lambda *_: few)
    assert reproduce(sources, tmp_path, 2, quick=False, progress=silent) == page
    runs = {path.parent.name for path in (tmp_path / "runs").glob("*/run.json")}
    assert runs == {run.name for run in few}
    assert {path: path.stat().st_mtime_ns for path in first} == first
    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert {(row["system"], row["seeds"]) for row in results} == {("random", 2), ("popularity", 2), ("famf", 2)}
    assert all(0 <= row["auc_low"] <= row["auc"] <= row["auc_high"] <= 1 for row in results)
    described = json.loads((tmp_path / "runs" / few[4].name / "run.json").read_text("utf-8"))
    assert described["backbone"] == "efficientnet_lite0"
    assert len(described["curve"]) >= 1


def test_an_interrupted_reproduction_goes_on_by_the_same_command(
    tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [Run("made", 80, system, 0) for system in ("random", "popularity", "recency")]
    monkeypatch.setattr(reproduction, "plan", lambda *_: few)
    command = ["reproduce", "--data", str(tiny_network), "--out", str(tmp_path), "--seeds", "1"]

    def cut_off(runs: Iterable[T], total: int, label: str) -> Iterator[T]:
        for done, run in enumerate(runs):
            yield run
            if label == "runs" and done == 0 and total == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr("training.progress.terminal", cut_off)
    assert main(command) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert not (tmp_path / "index.html").exists()
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/run.json")}
    assert first
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert {run.name for run in few} == {path.parent.name for path in (tmp_path / "runs").glob("*/run.json")}
    assert f"page {tmp_path / 'index.html'}" in capsys.readouterr().out


def test_another_network_does_not_go_on_where_one_was(
    tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reproduction, "plan", lambda *_: [Run("made", 80, "random", 0)])
    other = shutil.copytree(tiny_network, tmp_path / "other")
    rows = (other / "retweets.jsonl").read_text("utf-8").splitlines()
    (other / "retweets.jsonl").write_text("\n".join(rows[1:]) + "\n", "utf-8")
    for folder, code in ((tiny_network, 0), (other, 1), (tiny_network, 0)):
        assert main(["reproduce", "--data", str(folder), "--out", str(tmp_path / "out")]) == code
    assert f"error: {other} is not the made network that" in capsys.readouterr().err


def test_a_run_of_other_settings_is_missing(
    tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sources = Run("made", 80, "ease", 0), Sources(tiny_network, tmp_path)
    assert not is_made(run, tmp_path)
    make(run, sources, tmp_path)
    assert is_made(run, tmp_path)
    monkeypatch.setattr(reproduction, "tuned", lambda *_: {"l2": 7.0})
    assert not is_made(run, tmp_path)
    make(run, sources, tmp_path)
    assert is_made(run, tmp_path)
    ((told,),) = read_runs(tmp_path).values()
    assert told.settings == asdict(BaselineSettings(l2=7.0))


def test_a_run_that_diverges_says_so_and_ends_nothing(
    tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sources = Run("made", 80, "famf", 0), Sources(tiny_network, tmp_path)
    monkeypatch.setattr(reproduction, "tuned", lambda *_: {"learning_rate": 1e30, "epochs": 2})
    make(run, sources, tmp_path)
    assert is_made(run, tmp_path)
    assert (read_runs(tmp_path), diverged(tmp_path)) == ({}, [run.name])
    monkeypatch.setattr(reproduction, "tuned", lambda *_: {"epochs": 2})
    make(run, sources, tmp_path)
    assert (len(read_runs(tmp_path)), diverged(tmp_path)) == (1, [])


def test_a_full_run_does_not_take_a_quick_one_for_its_own(
    tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sources = Sources(tiny_network, tmp_path_factory.getbasetemp() / "reproduce-var" / "features")
    monkeypatch.setattr(reproduction, "SPLITS", (80,))
    name = "made-primary-80-famf-s0"
    monkeypatch.setattr(reproduction, "plan", lambda *of: [run for run in plan(*of) if run.name == name])
    epochs = {}
    for quick in (True, False):
        page = reproduce(sources, tmp_path, 1, quick, silent)
        assert ("This is a quick run" in page.read_text("utf-8")) is quick
        ((run,),) = read_runs((tmp_path / "quick" if quick else tmp_path) / "runs").values()
        epochs[quick] = len(run.curve)
    assert epochs[True] == 2 < epochs[False]


def test_a_run_that_is_not_for_its_network_is_done_and_no_result(tiny_network: Path, tmp_path: Path) -> None:
    run = Run("flickr", 80, "recency", 0)
    make(run, Sources(tiny_network, tmp_path, flickr=write_flickr(tmp_path, *flickr_likes())), tmp_path)
    assert is_made(run, tmp_path)
    assert (read_runs(tmp_path), unfinished(tmp_path), diverged(tmp_path)) == ({}, [], [])


def test_the_plan_has_every_system_once_a_seed(tiny_network: Path, tmp_path: Path) -> None:
    runs = plan(Sources(tiny_network, tmp_path), seeds=3, quick=False)
    names = [run.name for run in runs]
    assert len(names) == len(set(names))
    assert {run.split for run in runs} == {60, 70, 80}
    primary = [run for run in runs if run.protocol == "primary"]
    assert sum(run.system == "amnl" and run.split == 80 and not run.dim for run in primary) == 3
    assert sum(run.system == "ease" and run.split == 80 for run in primary) == 1
    swept = [(run.dim, run.seed) for run in primary if run.system == "amnl_i" and run.dim]
    assert swept == [(dim, seed) for seed in range(3) for dim in (100, 200, 400)]
    for system in VARIANTS | PLACEBOS:
        expected = [] if system in IN_TEST else [(80, 0), (80, 1), (80, 2)]
        assert [(run.split, run.seed) for run in runs if run.system == system] == expected
    quick = plan(Sources(tiny_network, tmp_path), seeds=3, quick=True)
    assert not {run.system for run in quick} & set(VARIANTS | PLACEBOS)
    assert len(quick) < len(runs) / 5


def test_with_amnl_come_its_placebos_in_the_test_alone(
    tiny_network: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sources = Sources(tiny_network, tmp_path_factory.getbasetemp() / "reproduce-var" / "features")
    make(Run("made", 80, "amnl", 0, epochs=1), sources, tmp_path)
    make(Run("made", 80, "amnl", 0, dim=8, epochs=1), sources, tmp_path)
    told = {(key.system, key.dim): run for key, (run,) in read_runs(tmp_path).items()}
    dim = tuned("made", "amnl")["dim"]
    assert set(told) == {(system, dim) for system in ("amnl", *IN_TEST)} | {("amnl", 8)}
    assert all(told[system, dim].curve == told["amnl", dim].curve for system in IN_TEST)
    scores = {run.users.read_bytes() for run in told.values()}
    assert len(scores) == len(told)


@pytest.mark.parametrize(("quick", "systems", "runs_of_amnl"), [(False, 15, 3), (True, 3, 1)])
def test_the_plan_has_the_secondary_protocol_at_80(
    tiny_network: Path, tmp_path: Path, quick: bool, systems: int, runs_of_amnl: int
) -> None:
    runs = plan(Sources(tiny_network, tmp_path), seeds=3, quick=quick)
    secondary = [run for run in runs if run.protocol == "secondary"]
    assert len({run.system for run in secondary}) == systems
    assert sum(run.system == "amnl" for run in secondary) == runs_of_amnl
    assert {run.system for run in secondary} <= set(SYSTEMS)
    assert {(run.network, run.split) for run in secondary} == {("made", 80)}


def test_a_secondary_run_says_so(
    tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sources = Sources(tiny_network, tmp_path_factory.getbasetemp() / "reproduce-var" / "features")
    wanted = [Run("made", 80, system, 0, epochs=1, protocol="secondary") for system in ("random", "amnl")]
    monkeypatch.setattr(reproduction, "plan", lambda *_: [*wanted, Run("made", 80, "random", 0)])
    reproduce(sources, tmp_path, 1, quick=True, progress=silent)
    described = json.loads(
        (tmp_path / "quick" / "runs" / "made-secondary-80-random-s0" / "run.json").read_text("utf-8")
    )
    assert described["protocol"] == "secondary"
    results = json.loads((tmp_path / "quick" / "results.json").read_text("utf-8"))
    of = {(row["protocol"], row["system"]) for row in results}
    assert of == {("primary", "random"), ("secondary", "random"), ("secondary", "amnl")}
    assert (
        "Made network, secondary protocol (reconstruction), 80 % training"
        in (tmp_path / "quick" / "summary.md").read_text()
    )
