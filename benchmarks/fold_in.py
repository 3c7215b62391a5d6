"""Fold-in beside the social facet alone and a full retrain, on a made network.

    python -m benchmarks.fold_in --data var/dataset

A tenth of the users lose their training retweets and their followers, as if they had come after it, and a model is
trained on the rest. They are folded in from their first n retweets, with negatives of the moment of the last of these,
and judged on their own lists of the test or, for choosing, the validation period. The retrain has all of theirs.
Prints Markdown.

Shape suffixes: T tweets, P retweets, L lists, C candidates, E follows, D dimensions.
"""

import argparse
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from contract.environment import StoreSettings
from contract.fold_in import MOST_RETWEETS, Examples, with_negatives
from contract.graph import RECENT_LIMIT
from contract.progress import silent
from training.evaluate import Scorer, judge
from training.fold_in import DRAWS, FoldIn
from training.made import Made, load_made
from training.network import Ints, group
from training.problem import CandidateLists, Problem
from training.progress import terminal
from training.settings import TrainingSettings
from training.train import Fitted, Trainee, fit

SPLIT_PERCENT = 80
SHARE = 0.1
FIRST = (1, 2, 5, None)
Row = dict[str, float]


@dataclass(frozen=True)
class Newcomers:
    """Users who were taken out, the problem with and without them, the model that does not know them."""

    made: Made
    problem: Problem
    rest: Problem
    settings: TrainingSettings
    users: Ints
    fitted: Fitted
    z_TD: Tensor


def main() -> None:
    """Mean over the seeds, row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a made network's folder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--period", choices=("validation", "test"), default="test", help="whose lists are judged")
    options = parser.parse_args()
    made = load_made(options.data, TrainingSettings(), StoreSettings().var_dir / "features", terminal)
    table: dict[str, list[Row]] = {}
    for seed in range(options.seeds):
        newcomers = taken_out(made, TrainingSettings(seed=seed))
        for name, scorer in scorers(newcomers):
            lists = lists_of(getattr(newcomers.problem, options.period), newcomers.users)
            table.setdefault(name, []).append(judge(lists, scorer, seed).means)
    print_table(table)


def taken_out(made: Made, settings: TrainingSettings) -> Newcomers:
    """Draw the users among those who are judged in the test, and train without them."""
    problem = made.problem(SPLIT_PERCENT, settings)
    judged = np.intersect1d(np.unique(problem.user_P), problem.test.user_L)
    users = np.random.default_rng(settings.seed).choice(judged, round(SHARE * problem.users), replace=False)
    rest = without(problem, users)
    fitted = fit(rest, settings, None, silent)
    trainee = Trainee(fitted.model, rest, settings, fitted.users)
    with torch.inference_mode():
        z_TD = torch.cat([trainee.tweets(part)[0] for part in torch.split(torch.arange(problem.tweets), 512)]).half()
    return Newcomers(made, problem, rest, settings, np.sort(users), fitted, z_TD)


def without(problem: Problem, users: Ints) -> Problem:
    """The problem without some users' retweets and without who follows them."""
    kept_P = ~np.isin(problem.user_P, users)
    follower_E = np.repeat(np.arange(problem.users), problem.followees.counts)
    kept_E = ~np.isin(problem.followees.values, users)
    return replace(
        problem,
        user_P=problem.user_P[kept_P],
        tweet_P=problem.tweet_P[kept_P],
        shown_P=problem.shown_P[kept_P],
        followees=group(follower_E[kept_E], problem.followees.values[kept_E], problem.users),
    )


def lists_of(lists: CandidateLists, users: Ints) -> CandidateLists:
    """Some users' lists."""
    kept_L, counts_L = np.isin(lists.user_L, users), np.diff(lists.starts)
    kept_C = np.repeat(kept_L, counts_L)
    return replace(
        lists,
        user_L=lists.user_L[kept_L],
        starts=np.concatenate([[0], np.cumsum(counts_L[kept_L])]),
        tweet_C=lists.tweet_C[kept_C],
        positive_C=lists.positive_C[kept_C],
    )


def scorers(newcomers: Newcomers) -> Iterator[tuple[str, Scorer]]:
    """What is compared, by name."""
    yield "social facet alone", newcomers.fitted.scorer
    for first in FIRST:
        name = "all their retweets" if first is None else f"their first {first}"
        yield f"folded in, {name}", folded_scorer(newcomers, first)
    yield "retrained", fit(newcomers.problem, newcomers.settings, None, silent).scorer


def folded_scorer(newcomers: Newcomers, first: int | None) -> Scorer:
    """The model with vectors of the users from their first retweets; None for all."""
    trained = newcomers.fitted.users
    model = copy.deepcopy(newcomers.fitted.model)
    vectors_UD = model.user_vectors.weight.detach()
    fold_in = FoldIn(model.ranker, newcomers.settings, vectors_UD[torch.from_numpy(trained)])
    folded = []
    for user in newcomers.users.tolist():
        followees = np.intersect1d(newcomers.rest.followees[user], trained)
        examples = examples_of(newcomers, user, followees, first)
        if examples is not None:
            inputs = (examples.followees_ND, examples.positive_PD, examples.negative_PSKD)
            vectors_UD[user] = fold_in(*map(torch.from_numpy, inputs)).half().float()
            folded.append(user)
    known = np.concatenate([trained, np.array(folded, dtype=np.int64)])
    return Trainee(model, newcomers.rest, newcomers.settings, known).scorer()


def examples_of(newcomers: Newcomers, user: int, followees: Ints, first: int | None) -> Examples | None:
    """As the service would have them online when the last of these retweets was made."""
    problem, network, exposed = newcomers.problem, newcomers.made.network, newcomers.made.exposed
    mine = np.flatnonzero(problem.user_P == user)[:first]
    moment = network.retweet_at_R[mine[-1]]  # training retweets are the first of all, in order of time
    mine = mine[-MOST_RETWEETS:]
    retweets = problem.tweet_P[mine]
    start, end = np.searchsorted(exposed.user_X, [user, user + 1])
    shown = exposed.tweet_X[start:end][exposed.at_X[start:end] <= moment]
    online = np.flatnonzero((network.posted_T <= moment) & (network.author_T != user))
    recent = online[np.argsort(network.posted_T[online])][-RECENT_LIMIT:]
    z_TD = newcomers.z_TD.numpy()
    return with_negatives(
        newcomers.fitted.model.user_vectors.weight.detach()[torch.from_numpy(followees)].half().numpy(),
        z_TD[retweets],
        problem.shown_P[mine],
        z_TD[np.setdiff1d(shown, retweets)],
        z_TD[np.setdiff1d(recent, retweets)],
        (DRAWS, newcomers.settings.negatives),
        newcomers.settings.sampling,
        np.random.default_rng([newcomers.settings.seed, user]),
    )


def print_table(table: dict[str, list[Row]]) -> None:
    """Means over the seeds, every seed's AUC, and how far from the first row to the last each is."""
    means = {
        name: {metric: np.mean([row[metric] for row in rows]) for metric in rows[0]} for name, rows in table.items()
    }
    names = list(means)
    worst, best = means[names[0]], means[names[-1]]
    print("| Users who were not trained on | AUC | P@1 | AUC, seed by seed | Share of the way in AUC | in P@1 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names:
        by_seed = ", ".join(f"{row['auc']:.3f}" for row in table[name])
        shares = [f"{(means[name][m] - worst[m]) / (best[m] - worst[m]):.2f}" for m in ("auc", "p@1")]
        print(f"| {name} | {means[name]['auc']:.4f} | {means[name]['p@1']:.3f} | {by_seed} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
