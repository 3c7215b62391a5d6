"""Folders of runs as the comparison leaves them, with made metrics."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluate import METRICS

ABOVE_LEVEL = {"p@1": 0.0, "p@3": -0.06, "p@3/min": 0.05, "auc": 0.08, "ndcg@10": -0.03, "mrr": 0.02}
"""What makes a run's metrics differ from one another."""


def write_run(
    runs: Path,
    system: str = "amnl",
    *,
    network: str = "made",
    protocol: str = "primary",
    split: int = 80,
    dim: int = 64,
    seed: int = 0,
    users: int = 40,
    level: float = 0.5,
    epochs: int = 3,
    epoch_seconds: float = 2.5,
    seconds: float = 9.0,
    warm: bool = True,
    backbone: str | None = "efficientnet_lite0",
    settings: dict[str, Any] | None = None,
    value_L: npt.ArrayLike | None = None,
) -> Path:
    """A run whose metrics by user are all `value_L`, or scatter around `level`, each metric in its own place.

    `warm`: every second user's list was seen in training; otherwise no list was.
    """
    rng = np.random.default_rng([seed, users])
    values: dict[str, Any] = {
        name: np.asarray(
            (level + ABOVE_LEVEL[name] + rng.normal(0, 0.2, users)).clip(0, 1) if value_L is None else value_L,
            np.float64,
        )
        for name in METRICS
    }
    users = len(values["auc"])
    folder = runs / f"{network}-{protocol}-{split}-{system}-d{dim}-s{seed}"
    folder.mkdir(parents=True)
    told = {
        "network": network,
        "protocol": protocol,
        "split": split,
        "system": system,
        "dim": dim,
        "seed": seed,
        "metrics": {name: float(value.mean()) for name, value in values.items()},
        "curve": [
            {"epoch": epoch, "loss": 0.7 / epoch, "seconds": epoch_seconds, "auc": level + 0.01 * epoch}
            for epoch in range(1, epochs + 1)
        ],
        "seconds": seconds,
        "settings": {"learning_rate": 0.02, "seed": seed, **(settings or {})},
        "git_revision": "abc1234",
        "backbone": backbone,
        "made_at": "2026-01-02T03:04:05Z",
    }
    (folder / "run.json").write_text(json.dumps(told), "utf-8")
    number_L = np.arange(users)
    about: dict[str, Any] = {
        "user_L": number_L,
        "warm_L": number_L % 2 * float(warm),
        "history_L": np.array([0, 3, 10, 30])[number_L % 4],
        "followees_L": np.array([1, 5, 20])[number_L % 3],
    }
    np.savez(folder / "users.npz", **about, **values)
    return folder


def write_marker(runs: Path, name: str, *, diverged: bool = False) -> None:
    """What a run leaves that came to nothing."""
    told = {"failed": "a reason", "diverged": diverged, "asked": {}}
    (runs / name).write_text(json.dumps(told), "utf-8")
