"""Every system on every split, a folder a run, so that an interrupted reproduction goes on where it was.

A run that came to nothing leaves a file of its name that says why. One that was made with other settings than those of
today counts as missing.

plan -> the runs that are not there yet, a process a core -> the page
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np

from contract.progress import Progress, silent
from training.compare import network_problem
from training.errors import InputRejected, NotForThisNetwork, TrainingDiverged
from training.evaluate import Scorer, judge
from training.made import ceiling_names, ceiling_scorers, load_made
from training.problem import Problem
from training.provenance import git_revision
from training.report import write_report
from training.settings import TrainingSettings
from training.systems import FIXED, IN_TEST, PLACEBOS, SYSTEMS, VARIANTS, Trained, tuned
from training.workers import end_with_parent

SPLITS = (60, 70, 80)
DIMS = (100, 200, 400)
MOST_WORKERS = 8
"""Each holds a network and its features, 1 GB or so."""
SWEPT = ("amnl", "amnl_i", "amnl_d")
ONLY_AT_80 = VARIANTS | PLACEBOS
"""Systems that explain AMNL, run at 80 % alone, and not in a quick run: the tables by split are for whole systems."""
QUICK_SECONDARY = ("random", "amnl", "vbpr")
SECONDARY = (
    *("random", "popularity", "recency"),
    *SWEPT,
    *(f"{system} (product)" for system in SWEPT),
    *("vbpr", "citing", "famf", "famf_visual", "adabpr", "rrfm"),
)


@dataclass(frozen=True)
class Sources:
    """Where the networks are: folders of the made network and, where they are at hand, of the public ones."""

    made: Path
    cache: Path
    lastfm: Path | None = None
    flickr: Path | None = None
    pictures: TrainingSettings = field(default_factory=TrainingSettings)
    """Of which the backbone and its weights are read."""


@dataclass(frozen=True)
class Run:
    """One system on one split of one network with one seed; `dim` 0 is the tuned one."""

    network: str
    split: int
    system: str
    seed: int
    dim: int = 0
    epochs: int = 0
    """At most so many; 0 is the tuned number."""
    protocol: str = "primary"

    @property
    def name(self) -> str:
        """Its folder's name."""
        size = f"-d{self.dim}" if self.dim else ""
        return f"{self.network}-{self.protocol}-{self.split}-{self.system.replace(' ', '_')}{size}-s{self.seed}"


def reproduce(sources: Sources, out: Path, seeds: int, quick: bool, progress: Progress) -> Path:
    """Make the runs that are missing, then the page of all of them. Returns the page's path.

    Quick ones are apart, in a folder of their own, or they would count as the full ones of the same name.
    Raises InputRejected where a network cannot be read, or is not the one that the folder's runs are of.
    """
    out = out / "quick" if quick else out
    runs = out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    same_networks(sources, out / "networks.json")
    load_made(sources.made, sources.pictures, sources.cache, progress)  # features once, before the workers need them
    missing = [run for run in plan(sources, seeds, quick) if not is_made(run, runs)]
    for _ in progress(_done(missing, sources, runs), len(missing), "runs"):
        pass
    write_report(runs, out, quick=quick)
    return out / "index.html"


def same_networks(sources: Sources, known: Path) -> None:
    """Note a digest of every network's tables in a file. Raises InputRejected where it has another one."""
    noted = json.loads(known.read_text("utf-8")) if known.exists() else {}
    for name in ("made", "lastfm", "flickr"):
        folder: Path | None = getattr(sources, name)
        if folder is None:
            continue
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.glob("*") if path.is_file()):
            digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        if noted.setdefault(name, digest.hexdigest()) != digest.hexdigest():
            raise InputRejected(
                f"{folder} is not the {name} network that {known.parent} has runs of: give another --out"
            )
    known.write_text(json.dumps(noted, indent=1) + "\n", "utf-8")


def is_made(run: Run, runs: Path) -> bool:
    """Whether there is a run of the name, with the settings that it would have today."""
    path = runs / run.name
    told = path / "run.json" if path.is_dir() else path
    return told.exists() and json.loads(told.read_text("utf-8"))["asked"] == settings_of(run)


def settings_of(run: Run) -> dict[str, Any]:
    """The tuned settings, with what the run has of its own."""
    settings = tuned(run.network, run.system)
    settings |= {"dim": run.dim} if run.dim else {}
    if run.epochs and run.system in SYSTEMS:
        settings |= {"epochs": run.epochs}
    return settings


def plan(sources: Sources, seeds: int, quick: bool) -> list[Run]:
    """Tables first, seed by seed, then the dimension sweep, then the secondary protocol.

    Placebos in the test alone are not in it: they come with AMNL's runs.
    """
    epochs = 2 if quick else 0
    splits = (80,) if quick else SPLITS
    public = [name for name in ("lastfm", "flickr") if getattr(sources, name) is not None]
    cells = [("made", split) for split in reversed(splits)] + [(name, 80) for name in public]
    named = [*(system for system in SYSTEMS if system not in IN_TEST), *ceiling_names(sources.made)]
    drawn = range(1 if quick else seeds)
    runs = [
        Run(network, split, system, seed, epochs=epochs)
        for seed in drawn
        for network, split in cells
        for system in named
        if (system not in ONLY_AT_80 or (split == 80 and not quick))
        and (seed == 0 or (system in SYSTEMS and system not in FIXED))
        and (network == "made" or system in SYSTEMS)
    ]
    sweep = [Run("made", 80, system, seed, dim) for seed in drawn for dim in DIMS for system in SWEPT]
    secondary = [
        Run("made", 80, system, seed, epochs=epochs, protocol="secondary")
        for seed in drawn
        for system in (QUICK_SECONDARY if quick else SECONDARY)
        if seed == 0 or system not in FIXED
    ]
    return runs + ([] if quick else sweep) + secondary


def _done(runs: list[Run], sources: Sources, folder: Path) -> Iterator[Run]:
    workers = max(1, min(len(os.sched_getaffinity(0)), MOST_WORKERS, len(runs)))
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin) as pool:
        futures = {pool.submit(make, run, sources, folder): run for run in runs}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():  # a run that is cut off leaves nothing
                worker.terminate()
            raise


def _begin() -> None:
    import torch

    end_with_parent()
    torch.set_num_threads(1)


def make(run: Run, sources: Sources, folder: Path) -> None:
    """Train and judge, then leave run.json and users.npz under the run's name, whole or not at all.

    With AMNL come its placebos that differ in the test alone: they are the same training. What is not for its network,
    or diverges, leaves a file that says so.
    """
    problem = problem_for(run.network, run.protocol, run.split, sources)
    settings = settings_of(run)
    started = time.perf_counter()
    try:
        trained = train_system(problem, run, settings, sources)
        seconds = time.perf_counter() - started
        for placebo, scorer in _told_otherwise(run, problem, trained):
            _keep(placebo, problem, replace(trained, scorer=scorer), seconds, sources, folder)
        _keep(run, problem, trained, seconds, sources, folder)
    except (NotForThisNetwork, TrainingDiverged) as error:
        diverged = isinstance(error, TrainingDiverged)
        _remove(folder / run.name)
        told = {"failed": str(error), "diverged": diverged, "asked": settings}
        (folder / run.name).write_text(json.dumps(told, indent=2), "utf-8")


def _told_otherwise(run: Run, problem: Problem, trained: Trained) -> Iterator[tuple[Run, Scorer]]:
    """The placebos that come with a run, if any does."""
    if trained.scorer_on is None or replace(run, seed=0, epochs=0) != Run(run.network, 80, "amnl", 0):
        return
    for system, mix in IN_TEST.items():
        with suppress(NotForThisNetwork):
            yield replace(run, system=system), trained.scorer_on(mix(problem, run.seed))


def _keep(run: Run, problem: Problem, trained: Trained, seconds: float, sources: Sources, folder: Path) -> None:
    judgement = judge(problem.test, trained.scorer, run.seed)
    described = {
        "network": run.network,
        "protocol": run.protocol,
        "split": run.split,
        "system": run.system,
        "dim": trained.settings.get("dim", 64),
        "seed": run.seed,
        "metrics": judgement.means,
        "curve": trained.curve,
        "seconds": seconds,
        "settings": trained.settings,
        "asked": settings_of(run),
        "git_revision": git_revision() or "unknown",
        "backbone": sources.pictures.backbone if run.network == "made" else None,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": asdict(run),
    }
    draft = folder / f".{run.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    (draft / "run.json").write_text(json.dumps(described, indent=2), "utf-8")
    np.savez(draft / "users.npz", allow_pickle=False, **_by_user(problem), **judgement.of_L)
    _remove(folder / run.name)
    draft.rename(folder / run.name)


def _remove(path: Path) -> None:
    """Whatever an earlier run of the name left."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def train_system(problem: Problem, run: Run, settings: dict[str, Any], sources: Sources) -> Trained:
    """A system of the registry, or a ceiling of the planted truth."""
    if run.system in SYSTEMS:
        return SYSTEMS[run.system](problem, settings, run.seed, silent)
    return Trained(ceiling_scorers(sources.made, problem)[run.system], [], {})


@lru_cache(maxsize=8)
def problem_for(network: str, protocol: str, split: int, sources: Sources) -> Problem:
    """The network's problem; a worker keeps all that there are."""
    folder: Path = getattr(sources, network)
    return network_problem(network, folder, split, sources.pictures, sources.cache, silent, protocol)


def _by_user(problem: Problem) -> dict[str, np.ndarray[Any, Any]]:
    lists = problem.test
    warm_T = np.zeros(problem.tweets, dtype=np.float64)
    warm_T[problem.tweet_P] = 1
    counts_L = np.diff(lists.starts)
    return {
        "user_L": lists.user_L,
        "warm_L": np.add.reduceat(warm_T[lists.tweet_C], lists.starts[:-1]) / counts_L,
        "history_L": np.bincount(problem.user_P, minlength=problem.users)[lists.user_L],
        "followees_L": problem.followees.counts[lists.user_L],
    }
