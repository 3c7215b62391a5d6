"""BPR-MF and VBPR beside Cornac's and implicit's: the same retweets, lists and judge, and how fast each trains.

    pip install -e ".[training,bench]"
    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive python -m benchmarks.peers --lastfm DIR --flickr DIR

Each system gets the same number of trials and of epochs; learning rate, regularisation and epoch are picked by AUC on
the validation lists with a seed that the tables do not use. Prints Markdown.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peer_models import (
    Fitted,
    PeerSettings,
    cornac_bpr,
    cornac_bpr_epochs,
    cornac_vbpr,
    implicit_bpr,
    implicit_bpr_epochs,
)
from contract.progress import Progress, silent
from training.baselines import famf, vbpr
from training.baselines.fitting import fit_factors
from training.baselines.settings import BaselineSettings
from training.evaluate import Scorer, judge
from training.factors import IdItems
from training.problem import Problem
from training.public.flickr import load_flickr
from training.public.lastfm import load_lastfm
from training.sampling import TripleSampler, triple_sampler
from training.trainer import Curve

TUNING_SEED = 1_000
REPORTED = ("p@1", "p@3", "auc", "ndcg@10")
DIM = 64


@dataclass(frozen=True)
class Contestant:
    """A system: how it is trained with a learning rate, a regularisation and a seed, and what to try of the two."""

    name: str
    fit: Callable[[Problem, float, float, int], Fitted]
    rates: tuple[float, ...]
    strengths: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """What a tuned system reached on the test lists: the mean over seeds and the deviation between them."""

    name: str
    rate: float
    strength: float
    epochs: list[int]
    mean: dict[str, float]
    deviation: dict[str, float]


def main() -> None:
    """Compare on each network that is given, then measure the speed on the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lastfm", type=Path, help="folder of HetRec 2011's lastfm-2k")
    parser.add_argument("--flickr", type=Path, help="folder of DiffNet's Flickr")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bpr-epochs", type=int, default=60)
    parser.add_argument("--vbpr-epochs", type=int, default=20)
    parser.add_argument("--speed-epochs", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    packages = ", ".join(f"{name} {version(name)}" for name in ("cornac", "implicit", "torch", "numpy"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}")
    loaders: list[tuple[str, Any, Path | None]] = [
        ("LastFM", load_lastfm, options.lastfm),
        ("Flickr", load_flickr, options.flickr),
    ]
    for network, load, folder in loaders:
        if folder is None:
            continue
        problem = load(folder)
        races = [bpr_race(options.bpr_epochs)]
        if problem.content.x_TF is not None:
            races.append(vbpr_race(options.vbpr_epochs))
        for race in races:
            print_race(network, [row_of(contestant, problem, options.seeds) for contestant in race])
        print_speed(network, problem, options.speed_epochs)


def bpr_race(epochs: int) -> list[Contestant]:
    """BPR-MF with item biases."""
    peer = partial(PeerSettings, dim=DIM, epochs=epochs)
    return [
        Contestant("Cornac BPR", _peer(cornac_bpr, peer), (0.05, 0.1, 0.2), (0.003, 0.01, 0.03)),
        Contestant("implicit BPR", _peer(implicit_bpr, peer), (0.05, 0.1, 0.2), (0.01, 0.03, 0.1)),
        Contestant("FAMF (ours)", _ours(famf.fit, epochs, 4096), (0.05, 0.1, 0.2), (3e-6, 1e-5, 3e-5)),
        Contestant(
            "FAMF (ours), negatives as implicit's",
            _ours(_famf_by_popularity, epochs, 4096),
            (0.05, 0.1, 0.2),
            (3e-6, 1e-5, 3e-5),
        ),
    ]


def vbpr_race(epochs: int) -> list[Contestant]:
    """VBPR with half the dimensions visual, batches of 512 on both sides."""
    peer = partial(PeerSettings, dim=DIM, epochs=epochs, batch=512)
    return [
        Contestant("Cornac VBPR, corrected", _peer(cornac_vbpr, peer), (0.002, 0.005, 0.01), (0.01, 0.03, 0.1)),
        Contestant("VBPR (ours)", _ours(vbpr.fit, epochs, 512), (0.05, 0.1, 0.2), (3e-6, 1e-5, 3e-5)),
    ]


def _peer(fit: Any, settings: Callable[..., PeerSettings]) -> Callable[[Problem, float, float, int], Fitted]:
    return lambda problem, rate, strength, seed: fit(problem, settings(rate, strength), seed)


def _ours(fit_baseline: Any, epochs: int, batch: int) -> Callable[[Problem, float, float, int], Fitted]:
    def fit(problem: Problem, rate: float, strength: float, seed: int) -> Fitted:
        settings = BaselineSettings(DIM, rate, strength, epochs=epochs, batch=batch, patience=epochs)
        scorer, curve = fit_baseline(problem, settings, seed, silent)
        best = max(curve, key=lambda epoch: epoch["auc"])
        return Fitted(scorer, best["auc"], int(best["epoch"]))

    return fit


@dataclass(frozen=True)
class PopularitySampler(TripleSampler):
    """Negatives in proportion to their retweets, as implicit draws them; a retweeted one is drawn again."""

    def _uniform(self, user_P: Any, negatives: int, generator: np.random.Generator) -> Any:
        drawn_PK = self.tweet_P[generator.integers(len(self.tweet_P), size=(len(user_P), negatives))]
        for _ in range(8):
            again_PK = self.is_retweeted(user_P[:, None], drawn_PK)
            drawn_PK[again_PK] = self.tweet_P[generator.integers(len(self.tweet_P), size=int(again_PK.sum()))]
        return drawn_PK


def _famf_by_popularity(
    problem: Problem, settings: BaselineSettings, seed: int, progress: Progress
) -> tuple[Scorer, Curve]:
    sampler = PopularitySampler(**vars(triple_sampler(problem, "uniform")))
    items = partial(IdItems, problem.tweets)
    return fit_factors(problem, items, settings, seed, progress, "famf", sampler_of=lambda *_: sampler)


def row_of(contestant: Contestant, problem: Problem, seeds: int) -> Row:
    """Tune on the validation lists, then train with every seed and judge on the test lists."""
    tried: list[tuple[float, float, float]] = []
    for rate, strength in product(contestant.rates, contestant.strengths):
        fitted = contestant.fit(problem, rate, strength, TUNING_SEED)
        tried.append((fitted.auc, rate, strength))
        print(f"{contestant.name}: {rate} {strength:g} {fitted.auc:.4f} {fitted.epoch}", file=sys.stderr, flush=True)
    _, rate, strength = max(tried)
    runs = [contestant.fit(problem, rate, strength, seed) for seed in range(seeds)]
    means = [judge(problem.test, run.scorer, seed).means for seed, run in enumerate(runs)]
    values = {metric: np.array([mean[metric] for mean in means]) for metric in REPORTED}
    mean = {metric: float(of_seed.mean()) for metric, of_seed in values.items()}
    deviation = {metric: float(of_seed.std(ddof=1)) if seeds > 1 else 0.0 for metric, of_seed in values.items()}
    return Row(contestant.name, rate, strength, [run.epoch for run in runs], mean, deviation)


def print_race(network: str, rows: list[Row]) -> None:
    """A table of means and deviations, and of the ratios to the first row's."""
    print(f"\n| {network} | lr | reg | best epochs | P@1 | P@3 | AUC | NDCG@10 | ratios to {rows[0].name} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        cells = " | ".join(f"{row.mean[m]:.3f} ± {row.deviation[m]:.3f}" for m in REPORTED)
        ratios = ", ".join(f"{row.mean[m] / rows[0].mean[m]:.3f}" for m in REPORTED)
        epochs = ", ".join(map(str, row.epochs))
        print(f"| {row.name} | {row.rate} | {row.strength:g} | {epochs} | {cells} | {ratios} |", flush=True)


def print_speed(network: str, problem: Problem, epochs: int) -> None:
    """Training triples a second of BPR-MF, judging not counted; one thread each, then two.

    Triples that a peer skips because the negative was retweeted are counted.
    """
    print(f"\n| {network}, BPR, d = {DIM} | threads | triples/s | ratio to ours |\n| --- | --- | --- | --- |")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        settings = PeerSettings(0.05, 0.01, DIM, epochs=epochs + 1, threads=threads)
        triples = len(problem.user_P) * epochs
        rates = {
            "ours": triples / _our_seconds(problem, epochs),
            "Cornac": triples / _seconds(cornac_bpr_epochs(problem, settings, 0)),
            "implicit": triples / _seconds(implicit_bpr_epochs(problem, settings, 0)),
        }
        for name, rate in rates.items():
            print(f"| {name} | {threads} | {rate:,.0f} | {rate / rates['ours']:.2f} |", flush=True)
    torch.set_num_threads(1)


def _seconds(epochs: Iterator[Any]) -> float:
    """Of all epochs but the first, which warms up."""
    next(epochs)
    started = time.perf_counter()
    for _ in epochs:
        pass
    return time.perf_counter() - started


def _our_seconds(problem: Problem, epochs: int) -> float:
    """The same of the project's trainer, which times its epochs without the judging."""
    settings = BaselineSettings(DIM, epochs=epochs + 1, patience=epochs + 1)
    _, curve = famf.fit(problem, settings, 0, silent)
    return sum(epoch["seconds"] for epoch in curve[1:])


if __name__ == "__main__":
    main()
