"""Pick every system's settings on the validation lists of one split: the same number of trials for all.

`tune` keeps two files: settings by network and system (JSON), and beside it a line for every trial.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from contract.progress import Progress, silent
from training.errors import InputRejected, NotForThisNetwork, TrainingDiverged
from training.evaluate import judge
from training.problem import Problem
from training.systems import AMNL_FAMILY, BASELINES, SYSTEMS

SEED = 1_000
"""Not one of the seeds that the tables are made with."""

DIMS = {"made": (16, 64), "lastfm": (64, 128), "flickr": (64, 128)}
FREE: dict[str, Any] = {"residual": True, "item_bias": True, "init_std": 0.02}
AMNL: dict[str, dict[str, Any]] = {
    "made": {"text_dim": 32, "word_dim": 32, "sampling": "matched", "init_std": 0.05, "batch": 2048, "epochs": 30},
    "lastfm": FREE | {"sampling": "matched", "batch": 2048, "epochs": 30},
    "flickr": FREE | {"sampling": "uniform", "batch": 4096, "epochs": 20},
}
"""What the AMNL family is told of a network's kind; docs/experiments.md says where from."""
PRODUCT: dict[str, dict[str, Any]] = {
    "made": {"text_dim": 32, "word_dim": 32, "sampling": "followees", "batch": 2048, "epochs": 30},
    "lastfm": {"residual": True, "sampling": "followees", "batch": 2048, "epochs": 30},
    "flickr": {"residual": True, "sampling": "followees", "batch": 4096, "epochs": 20},
}
"""The same for the paper's link and loss, with the paper's two negatives, of what followees showed."""
EPOCHS = {"made": 60, "lastfm": 60, "flickr": 30}
"""At most, of the baselines."""


@dataclass(frozen=True)
class Trial:
    """Settings of a system and what they gave on validation lists, or why they gave nothing."""

    network: str
    split: int
    system: str
    settings: dict[str, Any]
    auc: float | None = None
    failed: str = ""

    @property
    def name(self) -> str:
        """What was tried, in words that are the same in every call."""
        return json.dumps([self.network, self.split, self.system, self.settings], sort_keys=True)


def grid(network: str, system: str) -> list[dict[str, Any]]:
    """Eight settings to try, none for a system without any."""
    dims = DIMS[network]
    if system in AMNL_FAMILY and "product" in system:
        told = PRODUCT[network] | {"negatives": 2, "l2": 1e-6, "patience": 4}
        return [told | varied for varied in _all(learning_rate=(0.02, 0.05), init_std=(0.03, 0.1), dim=dims)]
    if system in AMNL_FAMILY:
        told = AMNL[network] | {"loss": "softmax", "negatives": 8, "patience": 4}
        return [told | varied for varied in _all(learning_rate=(0.05, 0.1), l2=(3e-6, 1e-5), dim=dims)]
    if system == "ease":
        return _all(l2=(20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0))
    if system in BASELINES:
        told = {"epochs": EPOCHS[network], "patience": 8}
        if (network, system) == ("flickr", "lightgcn"):  # every step goes over the whole graph
            told["batch"] = 16_384
        return [told | varied for varied in _all(learning_rate=(0.05, 0.2), l2=(3e-6, 3e-5), dim=dims)]
    return []


def _all(**values: tuple[float, ...]) -> list[dict[str, Any]]:
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def tune(
    problem: Problem, network: str, split: int, names: list[str], out: Path, progress: Progress
) -> Iterator[Trial]:
    """Make the trials of these systems' grids that the log has not yet; yields all, and leaves the best in `out`.

    Raises InputRejected for a system that has nothing to tune, and for files that an earlier call did not leave so.
    """
    if fixed := [name for name in names if not grid(network, name)]:
        raise InputRejected(f"--systems: {fixed[0]} has nothing to tune: leave it out")
    todo = [Trial(network, split, system, settings) for system in names for settings in grid(network, system)]
    log = out.with_suffix(".trials.jsonl")
    kept = _settings(out)
    done = {trial.name: trial for trial in _trials(log)}
    with log.open("a", encoding="utf-8") as lines:
        for trial in progress(todo, len(todo), f"tune ({network})"):
            if trial.name not in done:
                done[trial.name] = _tried(problem, trial)
                lines.write(json.dumps(asdict(done[trial.name])) + "\n")
                lines.flush()
            yield done[trial.name]
    for system in names:
        of_system = [done[trial.name] for trial in todo if trial.system == system]
        best = max(of_system, key=lambda trial: -1.0 if trial.auc is None else trial.auc)
        kept.setdefault(network, {})[system] = None if best.auc is None else best.settings
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")
    partial.rename(out)


def _tried(problem: Problem, trial: Trial) -> Trial:
    try:
        trained = SYSTEMS[trial.system](problem, trial.settings, SEED, silent)
        auc = judge(problem.validation, trained.scorer, SEED).means["auc"]
    except (TrainingDiverged, NotForThisNetwork) as error:
        return replace(trial, failed=str(error))
    return replace(trial, auc=auc)


def _settings(out: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(out.read_text("utf-8"))) if out.exists() else {}
    except ValueError as error:
        raise InputRejected(f"--out: {out} is no JSON of settings ({error}): choose another file") from error


def _trials(log: Path) -> list[Trial]:
    """What is in the log; a last line that an interruption cut off was not made, and is taken out."""
    whole, _, cut_off = log.read_text("utf-8").rpartition("\n") if log.exists() else ("", "", "")
    try:
        trials = [Trial(**json.loads(line)) for line in whole.splitlines()]
    except (ValueError, TypeError) as error:
        raise InputRejected(f"{log} is no log of trials ({error}): move it away") from error
    if cut_off:
        log.write_text(f"{whole}\n" if whole else "", "utf-8")
    return trials
