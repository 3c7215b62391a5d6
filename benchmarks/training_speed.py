"""Training tuples a second at d = 400: this trainer beside the same model written plainly, in one run.

    python -m benchmarks.training_speed --data var/paper

Plain: a Python loop draws the samples, every sample's tweets and followees are computed anew, gradients of embeddings
are dense. Both have the same model, batch, negatives and threads. Prints Markdown.
"""

import argparse
import os
import platform
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from contract.environment import StoreSettings
from training import losses
from training.compare import network_problem
from training.model import Amnl
from training.network import Ints
from training.problem import Problem
from training.progress import terminal
from training.sampling import triple_sampler
from training.settings import TrainingSettings
from training.train import Trainee


def main() -> None:
    """Measure both and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a made network's folder")
    parser.add_argument("--dim", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=60.0, help="at least so long for each")
    options = parser.parse_args()
    cache = StoreSettings().var_dir / "features"
    problem = network_problem("made", options.data, 80, TrainingSettings(), cache, terminal)
    settings = TrainingSettings(
        dim=options.dim, link="product", loss="hinge", attention="paper", negatives=2, text_dim=32, word_dim=32
    )
    fast = rate(fast_steps(problem, settings), options.seconds)
    plain = rate(plain_steps(problem, settings), options.seconds)
    epoch = len(triple_sampler(problem, "followees").user_P) * settings.negatives
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads\n"
    )
    print(f"| d = {options.dim}, batch {settings.batch} retweets | tuples/s | an epoch of 144,000 tuples |")
    print("| --- | --- | --- |")
    for name, tuples in (("this trainer", fast), ("the same, written plainly", plain)):
        print(f"| {name} | {tuples:,.0f} | {144_000 / tuples:,.1f} s |")
    print(f"\nratio {fast / plain:.1f}; the network's own epoch has {epoch:,} tuples")
    print(f"the paper's epoch: 50 minutes / 9 = {50 * 60 / 9:.0f} s; ratio {50 * 60 / 9 / (144_000 / fast):.0f}")


def rate(steps: Iterator[int], seconds: float) -> float:
    """Tuples a second, after one step to warm up."""
    next(steps)
    started, tuples = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        tuples += next(steps)
    return tuples / (time.perf_counter() - started)


def fast_steps(problem: Problem, settings: TrainingSettings) -> Iterator[int]:
    """The shared trainer's steps; yields the tuples of each."""
    torch.manual_seed(0)
    trainee = Trainee(Amnl(problem, settings), problem, settings, np.arange(problem.users))
    optimizer = torch.optim.Adagrad(trainee.parameters(), lr=settings.learning_rate)
    sampler = triple_sampler(problem, "followees")
    for epoch in range(1_000):
        for user_B, positive_B, negative_BK in sampler.batches(settings.batch, settings.negatives, 0, epoch):
            pairs = trainee.pairs(user_B, positive_B, negative_BK)
            loss = losses.hinge(pairs.positive_B[:, None], pairs.negative_BK, settings.margin)
            optimizer.zero_grad()
            (loss + pairs.penalty).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield negative_BK.size


def plain_steps(problem: Problem, settings: TrainingSettings) -> Iterator[int]:
    """What one writes first: sample by sample, dense gradients."""
    torch.manual_seed(0)
    model = Amnl(problem, settings)
    for module in (model.user_vectors, model.encoder.word_vectors):
        module.sparse = False
    optimizer = torch.optim.Adagrad(model.parameters(), lr=settings.learning_rate, weight_decay=2 * settings.l2)
    drawer = random.Random(0)
    positives = list(zip(problem.user_P.tolist(), problem.tweet_P.tolist(), strict=True))
    while True:
        triples: list[tuple[int, int, int]] = []
        while len(triples) < settings.batch * settings.negatives:
            user, tweet = drawer.choice(positives)
            passed_by = problem.unretweeted[user]
            if len(passed_by):
                triples += [(user, tweet, int(drawer.choice(passed_by))) for _ in range(settings.negatives)]
        user_B, positive_B, negative_B = (np.array(column) for column in zip(*triples, strict=True))
        positive, negative = (plain_scores(model, problem, user_B, tweet_B) for tweet_B in (positive_B, negative_B))
        loss = losses.hinge(positive[:, None], negative[:, None], settings.margin)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield len(triples)


def plain_scores(model: Amnl, problem: Problem, user_B: Ints, tweet_B: Ints) -> Tensor:
    """F of pairs, float32 [B]: every pair's tweet is encoded and its followees' attention computed, padded."""
    content = problem.content
    if content.x_TF is None or content.token_ids_TSW is None:
        raise ValueError("the benchmark's network has pictures and words")
    z_BD = model.encoder(content.x_TF[tweet_B], content.token_ids_TSW[tweet_B])
    rows = [problem.followees[int(user)] for user in user_B]
    followee_BN = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.int64)
    mask_BN = np.zeros(followee_BN.shape, dtype=bool)
    for place, row in enumerate(rows):
        followee_BN[place, : len(row)], mask_BN[place, : len(row)] = row, True
    scores = model.ranker(
        model.user_vectors(torch.from_numpy(user_B)),
        torch.ones(len(user_B), dtype=torch.bool),
        model.user_vectors(torch.from_numpy(followee_BN)),
        torch.from_numpy(mask_BN),
        z_BD[:, None],
    )
    score_B: Tensor = scores.score_BC[:, 0]
    return score_B


if __name__ == "__main__":
    main()
