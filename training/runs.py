"""Finished runs of a comparison: folders with run.json (what, how, its epochs) and users.npz (metrics by user)."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Key(NamedTuple):
    """What is compared; runs of the same key differ by seed alone. `split` is the percentage of training."""

    network: str
    protocol: str
    split: int
    system: str
    dim: int


@dataclass(frozen=True)
class Run:
    """One finished run; `users` is where its metrics by user are."""

    key: Key
    seed: int
    curve: list[dict[str, float]]
    seconds: float
    settings: dict[str, Any]
    git_revision: str
    backbone: str | None
    made_at: str
    users: Path


def read_runs(runs: Path) -> dict[Key, list[Run]]:
    """Finished runs by key, in order. A folder that lacks one of the two files is a run that is not finished."""
    grouped: dict[Key, list[Run]] = defaultdict(list)
    for file in sorted(runs.glob("*/run.json")):
        users = file.with_name("users.npz")
        if users.exists():
            told = json.loads(file.read_text("utf-8"))
            key = Key(*(told[name] for name in Key._fields))
            kept = ("seed", "curve", "seconds", "settings", "git_revision", "backbone", "made_at")
            grouped[key].append(Run(key, users=users, **{name: told[name] for name in kept}))
    return dict(sorted(grouped.items()))


def unfinished(runs: Path) -> list[str]:
    """Names of the folders that are left out."""
    folders = (path for path in sorted(runs.glob("*")) if path.is_dir())
    return [path.name for path in folders if not ((path / "run.json").exists() and (path / "users.npz").exists())]


def seeds_of(group: list[Run]) -> int:
    """How many seeds were run."""
    return len({run.seed for run in group})


def common_settings(group: list[Run]) -> dict[str, Any]:
    """Settings of all runs of a key; where they disagree, the list of what they had."""
    common: dict[str, Any] = {}
    for name in sorted({name for run in group for name in run.settings} - {"seed"}):
        values = [run.settings.get(name) for run in group]
        common[name] = values[0] if all(value == values[0] for value in values) else values
    return common
