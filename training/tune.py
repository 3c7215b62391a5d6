"""Pick every system's settings on the validation lists of one split: the same number of trials for all."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from training.errors import NotForThisNetwork
from training.evaluate import judge
from training.problem import Problem
from training.progress import Progress, silent
from training.systems import AMNL_FAMILY, BASELINES, SYSTEMS

SEED = 1_000
"""Not one of the seeds that the tables are made with."""

DIMS = {"made": (16, 64), "lastfm": (16, 64), "flickr": (64, 128)}
FREE: dict[str, Any] = {"residual": True, "item_bias": True, "init_std": 0.02}
AMNL: dict[str, dict[str, Any]] = {
    "made": {"text_dim": 32, "word_dim": 32, "sampling": "matched", "init_std": 0.05, "batch": 2048, "epochs": 30},
    "lastfm": FREE | {"sampling": "matched", "batch": 2048, "epochs": 30},
    "flickr": FREE | {"sampling": "uniform", "batch": 4096, "epochs": 20},
}
"""What the AMNL family is told of a network's kind; docs/experiments.md says where from."""
PRODUCT: dict[str, dict[str, Any]] = {
    "made": {"text_dim": 32, "word_dim": 32, "batch": 2048, "epochs": 30},
    "lastfm": {"residual": True, "batch": 2048, "epochs": 30},
    "flickr": {"residual": True, "batch": 4096, "epochs": 20},
}
"""The same for the paper's link and loss, with the paper's two negatives, of what followees showed."""
EPOCHS = {"made": 60, "lastfm": 60, "flickr": 30}
"""At most, of the baselines."""


@dataclass(frozen=True)
class Trial:
    """Settings of a system and what they gave on validation lists."""

    system: str
    settings: dict[str, Any]
    auc: float


def grid(network: str, system: str) -> list[dict[str, Any]]:
    """Eight settings to try, none for a system without any."""
    dims = DIMS[network]
    if system in AMNL_FAMILY and "product" in system:
        told = PRODUCT[network] | {"negatives": 2, "l2": 1e-6, "patience": 4}
        return [told | varied for varied in _all(learning_rate=(0.02, 0.05), init_std=(0.1, 0.3), dim=dims)]
    if system in AMNL_FAMILY:
        told = AMNL[network] | {"loss": "softmax", "negatives": 8, "patience": 4}
        return [told | varied for varied in _all(learning_rate=(0.05, 0.1), l2=(3e-6, 1e-5), dim=dims)]
    if system == "ease":
        return _all(l2=(10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0))
    if system in BASELINES:
        told = {"epochs": EPOCHS[network], "patience": 8}
        return [told | varied for varied in _all(learning_rate=(0.05, 0.2), l2=(1e-5, 1e-4), dim=dims)]
    return []


def _all(**values: tuple[float, ...]) -> list[dict[str, Any]]:
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def tune(problem: Problem, network: str, names: list[str], out: Path, progress: Progress) -> Iterator[Trial]:
    """Try the grids of these systems; `out` (JSON) has each one's best by validation AUC so far, after every trial."""
    best: dict[str, float] = {}
    todo = [(system, settings) for system in names for settings in grid(network, system)]
    for trial in progress(_trials(problem, todo), len(todo), f"tune ({network})"):
        if trial is None:
            continue
        if trial.auc > best.get(trial.system, -1.0):
            best[trial.system] = trial.auc
            kept = json.loads(out.read_text("utf-8")) if out.exists() else {}
            kept.setdefault(network, {})[trial.system] = trial.settings
            out.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")
        yield trial


def _trials(problem: Problem, todo: list[tuple[str, dict[str, Any]]]) -> Iterator[Trial | None]:
    for system, settings in todo:
        try:
            trained = SYSTEMS[system](problem, settings, SEED, silent)
        except NotForThisNetwork:
            yield None
            continue
        yield Trial(system, settings, judge(problem.validation, trained.scorer, SEED).means["auc"])
