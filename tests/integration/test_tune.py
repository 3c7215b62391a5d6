"""tune on a made network, from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_public import flickr_likes, write_flickr
from training.__main__ import main
from training.errors import InputRejected
from training.systems import BASELINES, SYSTEMS, tuned
from training.tune import grid


def tune(folder: Path, out: Path, systems: str, *more: str) -> int:
    return main(["tune", "--data", str(folder), "--out", str(out), "--systems", systems, *more])


def trials(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.with_suffix(".trials.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(autouse=True)
def var_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAR_DIR", str(tmp_path_factory.getbasetemp() / "tune-var"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "settings.json"


def test_the_best_by_validation_is_kept_and_every_trial_is_listed(
    tiny_network: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.write_text('{"made": {"famf": {"dim": 3}}}', "utf-8")
    assert tune(tiny_network, out, "ease", "--backbone", "tiny") == 0
    made = trials(out)
    assert [trial["settings"] for trial in made] == grid("made", "ease")
    assert len(made) == 8
    best = max(made, key=lambda trial: float(trial["auc"]))
    assert json.loads(out.read_text("utf-8")) == {"made": {"famf": {"dim": 3}, "ease": best["settings"]}}
    printed = capsys.readouterr().out
    assert all(f"validation AUC {trial['auc']:.4f} with {trial['settings']}" in printed for trial in made)


def test_trials_that_were_made_are_not_made_again(
    tiny_network: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(tiny_network, out, "ease", "--backbone", "tiny")
    settings, log = out.read_text("utf-8"), out.with_suffix(".trials.jsonl")
    lines = log.read_text("utf-8").splitlines(keepends=True)
    log.write_text("".join(lines[:5]) + lines[5][:20], "utf-8")
    out.unlink()
    asked: list[dict[str, Any]] = []
    fit = SYSTEMS["ease"]

    def noting(*told: Any) -> Any:
        asked.append(told[1])
        return fit(*told)

    monkeypatch.setitem(SYSTEMS, "ease", noting)
    assert tune(tiny_network, out, "ease", "--backbone", "tiny") == 0
    assert asked == grid("made", "ease")[5:]
    assert out.read_text("utf-8") == settings
    assert tune(tiny_network, out, "ease", "--backbone", "tiny", "--split", "60") == 0
    assert len(asked) == 3 + 8


def test_a_system_that_is_not_for_the_network_has_no_settings(tmp_path: Path, out: Path) -> None:
    folder = write_flickr(tmp_path, *flickr_likes())
    assert tune(folder, out, "vbpr", "--kind", "flickr") == 0
    assert json.loads(out.read_text("utf-8")) == {"flickr": {"vbpr": None}}
    assert all("vbpr needs dense features" in trial["failed"] for trial in trials(out))


@pytest.mark.parametrize(
    ("systems", "status", "reason"),
    [("vbrp", 2, "vbrp is none of amnl,"), ("ease,random", 1, "random has nothing to tune: leave it out")],
)
def test_what_cannot_be_tuned_is_one_line(
    tiny_network: Path, out: Path, systems: str, status: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(tiny_network, out, systems, "--backbone", "tiny") == status
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: --systems: {reason}")
    assert not out.exists()


def test_a_file_that_is_no_settings_is_left_as_it_is(
    tiny_network: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.write_text("mine", "utf-8")
    assert tune(tiny_network, out, "ease", "--backbone", "tiny") == 1
    assert "is no JSON of settings" in capsys.readouterr().err
    assert out.read_text("utf-8") == "mine"


@pytest.mark.parametrize("network", ["made", "lastfm", "flickr"])
def test_every_system_was_tuned_with_as_many_trials(network: str) -> None:
    for system in (*BASELINES, "amnl", "amnl (product)"):
        assert tuned(network, system) in [{}, *grid(network, system)]
        assert len(grid(network, system)) == 8


def test_ablations_have_the_settings_of_what_they_are_parts_of() -> None:
    assert tuned("made", "amnl_i") == tuned("made", "social only") == tuned("made", "amnl")
    assert tuned("made", "amnl_d (product)") == tuned("made", "amnl (product)") != tuned("made", "amnl")


def test_a_system_that_was_not_tuned_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tuned.json").write_text('{"made": {}}', "utf-8")
    monkeypatch.setattr("training.systems.TUNED", tmp_path / "tuned.json")
    assert tuned("made", "popularity") == {}
    with pytest.raises(InputRejected, match=r"tuned\.json has no settings of vbpr on made"):
        tuned("made", "vbpr")
