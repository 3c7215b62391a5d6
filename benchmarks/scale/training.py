"""Training by several processes on this machine: whether the result is the same, what it costs, what they exchange.

    python -m benchmarks.scale.training

Shape suffixes: U users, D dimensions.
"""

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.results import Section, command, result, table
from contract.progress import silent
from training.made import load_made
from training.model import Amnl
from training.problem import Problem
from training.processes import Processes, of_torchrun
from training.retrain import judge_all
from training.sampling import triple_sampler
from training.settings import Placement, TrainingSettings
from training.synthesize import SynthesisSettings, synthesize
from training.train import Trainee, fit, schedule
from training.trainer import Objective

COMMAND = command("scale --only training")
NETWORK = SynthesisSettings(users=1_000, tweets=1_000)
SETTINGS = TrainingSettings(backbone="tiny", epochs=4)
ROUNDS = 1
_ID_BYTES = 8


@dataclass(frozen=True)
class Way:
    """How it is trained: by how many processes, with what numbers, and what more is asked of each."""

    processes: int
    option: Literal["", "sharded", "rounded", "float64"] = ""

    @property
    def name(self) -> str:
        """For people."""
        plural = "process" if self.processes == 1 else "processes"
        return f"{self.processes} {plural}{OPTIONS[self.option]}"

    @property
    def exchanges(self) -> bool:
        """Whether what it exchanges is of interest: not where it is only there to compare numbers with."""
        return self.option in ("", "sharded")

    @property
    def beside(self) -> "Way":
        """The way that it is compared with."""
        if self.option == "sharded":
            return Way(self.processes)
        return EXACT if self.option == "float64" else ONE


OPTIONS = {
    "": "",
    "sharded": ", sharded",
    "rounded": ", features' last bits others",
    "float64": ", float64",
}
GOALS = {"float64": ("<=", 1e-9), "sharded": ("<=", 1e-4)}
"""How far vectors may be off, of the largest number: those of sharded processes beside as many that are not."""
ONE, EXACT = Way(1), Way(1, "float64")
ROUNDED = Way(1, "rounded")
WAYS = [ONE, ROUNDED, Way(2), Way(4), Way(2, "sharded"), EXACT, Way(2, "float64"), Way(4, "float64")]


@dataclass(frozen=True)
class Trained:
    """What came of it: test AUC, users' vectors, seconds of every epoch but the first, which warms up."""

    auc: float
    vectors_UD: npt.NDArray[np.floating]
    seconds: list[float]


def measure() -> Section:
    """All ways in turns: some four minutes."""
    with tempfile.TemporaryDirectory(prefix="itr") as folder:
        work = Path(folder)
        synthesize(work / "network", NETWORK, silent)
        problem = load_made(work / "network", SETTINGS, work / "features", silent).problem(80, SETTINGS)
        (work / "problem").write_bytes(pickle.dumps(problem))
        rounds = [{way: trained(way, work) for way in WAYS} for _ in range(ROUNDS)]
    return _section(problem, rounds)


def trained(way: Way, work: Path) -> Trained:
    """By processes of their own."""
    out = work / "trained.npz"
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(way.processes), "-m"]
    child = [sys.executable, "-m", *(torchrun if way != ONE else []), "benchmarks.scale.training"]
    child += ["--work", str(work), "--option", way.option]
    subprocess.run(child, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    with np.load(out) as made:
        return Trained(float(made["auc"]), made["vectors_UD"], made["seconds"].tolist()[1:])


def train(work: Path, option: str) -> None:
    """What each of the processes does; the first one writes what came of it."""
    problem: Problem = pickle.loads((work / "problem").read_bytes())  # noqa: S301 - written above
    x_TF = problem.content.x_TF
    if x_TF is None:
        raise ValueError("there are no pictures")
    if option == "float64":
        torch.set_default_dtype(torch.float64)
        x_TF = x_TF.double()
    if option == "rounded":
        upwards_TF = torch.rand(x_TF.shape, generator=torch.Generator().manual_seed(0)) < 0.5
        x_TF = torch.nextafter(x_TF, torch.where(upwards_TF, torch.inf, -torch.inf))
    problem = replace(problem, content=replace(problem.content, x_TF=x_TF))
    placement = Placement(shard_users=option == "sharded")
    with of_torchrun({}) as processes, processes.joined("cpu"):
        fitted = fit(problem, SETTINGS, None, silent, placement=placement, processes=processes)
        auc = judge_all(fitted, problem, SETTINGS.seed)["amnl"]["auc"]
    if processes.first:
        seconds = [epoch["seconds"] for epoch in fitted.curve]
        np.savez(work / "trained.npz", auc=auc, vectors_UD=fitted.vectors_UD.numpy(), seconds=seconds)


def bytes_a_step(problem: Problem, way: Way) -> tuple[int, int]:
    """What the first process gives to others in a step: of all weights but the users' vectors, and of these.

    Gradients: of weights whole, of tables the rows with their numbers, once each. Where users' vectors are sharded:
    the numbers asked for, and back and forth their rows and the rows' gradients.
    """
    torch.manual_seed(0)
    sampler = triple_sampler(problem, SETTINGS.sampling)
    trainee = Trainee(Amnl(problem, SETTINGS), problem, SETTINGS, problem.with_followees(sampler.user_P))
    batch = next(sampler.batches(SETTINGS.batch, SETTINGS.negatives, SETTINGS.seed, 0))
    _, descended = Objective(trainee, schedule(SETTINGS), Processes(0, way.processes))(*batch)
    descended.backward()
    sizes = {}
    for name, parameter in trainee.named_parameters():
        gradient = parameter.grad
        if gradient is None:
            raise ValueError(f"{name} has no gradient")
        rows = gradient.coalesce().values() if gradient.is_sparse else gradient
        sizes[name] = rows.nbytes + (_ID_BYTES * len(rows) if gradient.is_sparse else 0)
        if name == "model.user_vectors.weight" and way.option == "sharded":
            sizes[name] += rows.nbytes
    users = sizes.pop("model.user_vectors.weight")
    return sum(sizes.values()), users


def _section(problem: Problem, rounds: list[dict[Way, Trained]]) -> Section:
    results, rows = [], []
    for way in WAYS:
        made = rounds[0][way]
        one = rounds[0][way.beside]
        difference = float(np.abs(made.vectors_UD - one.vectors_UD).max() / np.abs(one.vectors_UD).max())
        ratio = statistics.median(
            statistics.median(of_round[way].seconds) / statistics.median(of_round[way.beside].seconds)
            for of_round in rounds
        )
        others, users = bytes_a_step(problem, way)
        held = problem.users / way.processes if way.option == "sharded" else problem.users
        rows.append(
            [
                way.name,
                f"{made.auc:.4f}",
                f"{difference:.1e}",
                f"{ratio:.2f}",
                *([f"{others / 1e3:,.0f}", f"{users / 1e3:,.0f}", f"{held:,.0f}"] if way.exchanges else [""] * 3),
            ]
        )
        if way == way.beside:
            results.append(result(f"test AUC, {way.name}", one.auc, "", "", COMMAND, None))
            continue
        beside, goal = f"{way.beside.name}, the same run", GOALS.get(way.option)
        results += [
            result(f"test AUC, {way.name}", made.auc - one.auc, "more", beside, COMMAND, None),
            result(f"user vectors, {way.name}", difference, "of the largest number off", beside, COMMAND, goal),
        ]
        if way.exchanges:
            results += [
                result(f"an epoch, {way.name}", ratio, "times as long", beside, COMMAND, None),
                result(f"a step, {way.name}", (others + users) / 1e3, "kB from a process", "", COMMAND, None),
            ]
    text = "\n\n".join(
        [
            f"A made network of {problem.users:,} users, {problem.tweets:,} tweets and {len(problem.user_P):,} "
            f"retweets to train on, the `tiny` backbone's features, d = {SETTINGS.dim}, batches of "
            f"{SETTINGS.batch:,} retweets with {SETTINGS.negatives} negatives each, {SETTINGS.epochs} epochs; gloo, "
            "over loopback, one thread a process: with more processes than cores it is no faster, and only shows that "
            "it works. kB are what the first process has for others in a step, before the all-reduce: gradients of "
            "dense weights and words, and users' rows.",
            "In float64, from other initial weights, the vectors are the same; in float32 the same formula's last "
            "bits differ, and Adagrad's first steps, which are of the learning rate's size however small a gradient "
            "is, make much of them: it does so within one process, too, where each feature is the next number up or "
            "down. Sharded processes are beside as many that are not.",
            table(
                [
                    "",
                    "Test AUC",
                    "User vectors off",
                    "Epoch, times as long",
                    "kB: weights",
                    "kB: users",
                    "Users a process",
                ],
                rows,
            ),
        ]
    )
    return Section("Training by several processes", text, results)


def main() -> None:
    """Measure and print; with --work, be one of the processes that train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--option", choices=OPTIONS, default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        train(options.work, options.option)
    else:
        print(measure())


if __name__ == "__main__":
    main()
