"""Systems side by side on one network, for the command line."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from contract.progress import Progress, silent
from training.errors import InputRejected, NotForThisNetwork
from training.evaluate import judge
from training.made import ceiling_scorers, load_made, read_made
from training.problem import Problem
from training.public.flickr import load_flickr
from training.public.lastfm import load_lastfm
from training.settings import TrainingSettings
from training.systems import SYSTEMS, UNTRAINED, tuned

Line = tuple[str, dict[str, float] | str]
"""A system, and its metrics or why there are none."""


def compare(
    kind: str,
    folder: Path,
    protocol: str,
    split: int,
    names: list[str],
    seeds: int,
    pictures: TrainingSettings,
    cache: Path,
    progress: Progress,
) -> Iterator[Line]:
    """Metrics by system, the mean over seeds: rows without training, ceilings of a planted truth, then `names`.

    Raises InputRejected for a folder that cannot be read, a protocol that is not the kind's, a system not tuned.
    """
    problem = network_problem(kind, folder, split, pictures, cache, progress, protocol, with_features=bool(names))
    for name in (*UNTRAINED, *names):
        try:
            runs = [
                judge(problem.test, SYSTEMS[name](problem, tuned(kind, name), seed, silent).scorer, seed).means
                for seed in range(seeds)
            ]
        except NotForThisNetwork as error:
            if name in names:
                yield name, f"not for this network: {error}"
            continue
        yield name, {metric: float(np.mean([run[metric] for run in runs])) for metric in runs[0]}
        if name == list(UNTRAINED)[-1] and kind == "made":
            for ceiling, scorer in ceiling_scorers(folder, problem).items():
                yield ceiling, judge(problem.test, scorer, 0).means


def network_problem(
    kind: str,
    folder: Path,
    split: int,
    pictures: TrainingSettings,
    cache: Path,
    progress: Progress,
    protocol: str = "primary",
    with_features: bool = True,
) -> Problem:
    """A network's problem by a protocol, primary or secondary; pictures' features only where they are asked for.

    `pictures` says which backbone they are of.
    """
    if protocol == "secondary" and kind != "made":
        raise InputRejected(
            f"--protocol secondary is for --kind made alone, not for {kind}: it needs each retweet's time"
        )
    match kind:
        case "lastfm":
            return load_lastfm(folder)
        case "flickr":
            return load_flickr(folder)
        case _:
            made = load_made(folder, pictures, cache, progress) if with_features else read_made(folder)
            return made.secondary_problem(split, pictures) if protocol == "secondary" else made.problem(split, pictures)
