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

BASE: dict[str, dict[str, Any]] = {
    "made": {},
    "lastfm": {"residual": True, "item_bias": True, "sampling": "matched"},
    "flickr": {"residual": True, "item_bias": True, "sampling": "uniform"},
}
"""What the AMNL family is told of a network's kind."""

PAIRWISE = [{"learning_rate": rate, "l2": l2, "epochs": 30} for rate, l2 in product((0.05, 0.1), (1e-6, 1e-5, 1e-4))]
AMNL = [
    {"learning_rate": rate, "l2": l2, "init_std": 0.02, "loss": "softmax", "negatives": 8, "batch": 4096, "epochs": 15}
    for rate, l2 in product((0.02, 0.05), (3e-6, 1e-5, 3e-5))
]
PRODUCT = [
    {"learning_rate": rate, "l2": 1e-6, "init_std": std, "negatives": 2, "batch": 2048, "epochs": 15}
    for rate, std in product((0.02, 0.05), (0.03, 0.1, 0.3))
]
EASE = [{"l2": ridge} for ridge in (10.0, 50.0, 100.0, 200.0, 500.0, 1000.0)]


@dataclass(frozen=True)
class Trial:
    """Settings of a system and what they gave on validation lists."""

    system: str
    settings: dict[str, Any]
    auc: float


def grid(network: str, system: str) -> list[dict[str, Any]]:
    """Six settings to try, none for a system without any."""
    if system in AMNL_FAMILY:
        return [BASE[network] | settings for settings in (PRODUCT if "product" in system else AMNL)]
    if system == "ease":
        return list(EASE)
    return list(PAIRWISE) if system in BASELINES else []


def tune(problem: Problem, network: str, names: list[str], out: Path, progress: Progress) -> list[Trial]:
    """Try the grids of these systems and keep each one's best by validation AUC in `out` (JSON); returns all trials."""
    tried: list[Trial] = []
    todo = [(system, settings) for system in names for settings in grid(network, system)]
    for trial in progress(_trials(problem, todo), len(todo), f"tune ({network})"):
        if trial is not None:
            tried.append(trial)
    kept = json.loads(out.read_text("utf-8")) if out.exists() else {}
    for trial in sorted(tried, key=lambda trial: trial.auc):
        kept.setdefault(network, {})[trial.system] = trial.settings
    out.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")
    return tried


def _trials(problem: Problem, todo: list[tuple[str, dict[str, Any]]]) -> Iterator[Trial | None]:
    for system, settings in todo:
        try:
            trained = SYSTEMS[system](problem, settings, SEED, silent)
        except NotForThisNetwork:
            yield None
            continue
        yield Trial(system, settings, judge(problem.validation, trained.scorer, SEED).means["auc"])
