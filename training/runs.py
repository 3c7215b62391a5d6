"""Finished runs of a comparison: folders with run.json (what, how, its epochs) and users.npz (metrics by user)."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_NAME = re.compile(r"(?P<network>[^-]+)-(?P<protocol>[^-]+)-\d+-(?P<system>.+?)(-d\d+)?-s\d+")
"""A run's name, as the reproduction gives it."""


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
    """Finished runs by key, in order; a seed that was run twice counts once."""
    grouped: dict[Key, dict[int, Run]] = defaultdict(dict)
    for folder in _folders(runs):
        if _finished(folder):
            told = json.loads((folder / "run.json").read_text("utf-8"))
            key = Key(*(told[name] for name in Key._fields))
            kept = ("seed", "curve", "seconds", "settings", "git_revision", "backbone", "made_at")
            run = Run(key, users=folder / "users.npz", **{name: told[name] for name in kept})
            grouped[key].setdefault(run.seed, run)
    return {key: [of_seed[seed] for seed in sorted(of_seed)] for key, of_seed in sorted(grouped.items())}


def unfinished(runs: Path) -> list[str]:
    """Names of the folders that are left out."""
    return [folder.name for folder in _folders(runs) if not _finished(folder)]


def diverged(runs: Path) -> list[str]:
    """Names of the runs that came to nothing though they are for their network."""
    return [name[0] for name, told in _came_to_nothing(runs) if told["diverged"]]


def not_for_network(runs: Path) -> set[tuple[str, str, str]]:
    """Network, protocol and system, as names of runs have it, of what cannot be run there."""
    return {
        (name["network"], name["protocol"], name["system"])
        for name, told in _came_to_nothing(runs)
        if not told["diverged"]
    }


def seeds_of(group: list[Run]) -> int:
    """How many seeds were run."""
    return len(group)


def common_settings(group: list[Run]) -> dict[str, Any]:
    """Settings of all runs of a key; where they disagree, the list of what they had."""
    common: dict[str, Any] = {}
    for name in sorted({name for run in group for name in run.settings} - {"seed"}):
        values = [run.settings.get(name) for run in group]
        common[name] = values[0] if all(value == values[0] for value in values) else values
    return common


def _came_to_nothing(runs: Path) -> Iterator[tuple[re.Match[str], dict[str, Any]]]:
    """The files that stand in for runs, by name: they say why there is none."""
    for path in sorted(runs.glob("*")):
        name = _NAME.fullmatch(path.name)
        if name and path.is_file():
            yield name, json.loads(path.read_text("utf-8"))


def _folders(runs: Path) -> list[Path]:
    """Hidden ones are drafts of a run that was ended, or goes on."""
    return [path for path in sorted(runs.glob("*")) if path.is_dir() and not path.name.startswith(".")]


def _finished(folder: Path) -> bool:
    return (folder / "run.json").exists() and (folder / "users.npz").exists()
