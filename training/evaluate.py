"""How well scores rank the lists of a problem: metrics by user, and the rows that need no training.

Shape suffixes: L lists (one a user), C candidates of all lists one after another, T image tweets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from training.errors import TrainingDiverged
from training.indexing import count_up, entries, find, grouped_matrix
from training.network import Ints
from training.problem import CandidateLists, Floats, Problem

Scorer = Callable[[CandidateLists], Floats]
"""A score for every candidate, float [C]; higher is better."""

METRICS = ("p@1", "p@3", "p@3/min", "auc", "ndcg@10", "mrr")
_NDCG_AT = 10


@dataclass(frozen=True)
class Judgement:
    """Metrics by list, float64 [L] each, in the order of the lists' users."""

    of_L: dict[str, Floats]

    @property
    def means(self) -> dict[str, float]:
        """Mean over users, those left out for whom a metric is NaN; NaN where it is so for all."""
        known_L = {name: values_L[~np.isnan(values_L)] for name, values_L in self.of_L.items()}
        return {name: float(values_L.mean()) if len(values_L) else np.nan for name, values_L in known_L.items()}


def judge(lists: CandidateLists, scorer: Scorer, seed: int) -> Judgement:
    """P@1, P@3 (over 3 and over min(3, positives)), AUC, NDCG@10 and MRR of every list; each has a positive.

    Where there is no negative there is no order to judge: AUC, NDCG and MRR are NaN. Ties are broken at random, by the
    seed. Raises TrainingDiverged where a score is not a number.
    """
    score_C = np.asarray(scorer(lists), dtype=np.float64)
    if np.isnan(score_C).any():
        raise TrainingDiverged("a score is not a number: lower the learning rate or the initial deviation")
    starts, counts_L = lists.starts[:-1], np.diff(lists.starts)
    best_first = np.lexsort((np.random.default_rng(seed).random(len(score_C)), -score_C, lists.list_C))
    positive_C = lists.positive_C[best_first]
    rank_C = count_up(counts_L)
    positives_L = np.add.reduceat(positive_C, starts, dtype=np.int64)
    negatives_L = counts_L - positives_L

    def total(value_C: Any) -> Floats:
        return np.asarray(np.add.reduceat(np.where(positive_C, value_C, 0.0), starts), dtype=np.float64)

    hits_at_3_L = total(rank_C < 3)
    negatives_above_C = np.cumsum(~positive_C) - np.repeat(np.cumsum(negatives_L) - negatives_L, counts_L)
    gain_C = np.where(rank_C < _NDCG_AT, 1 / np.log2(rank_C + 2), 0.0)
    ideal_P = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, _NDCG_AT + 2)))])
    first_L = np.minimum.reduceat(np.where(positive_C, rank_C, len(rank_C)), starts)
    ordered_L = np.where(negatives_L > 0, 1.0, np.nan)
    return Judgement(
        {
            "p@1": total(rank_C < 1),
            "p@3": hits_at_3_L / (np.minimum(3, counts_L) if lists.short else 3),
            "p@3/min": hits_at_3_L / np.minimum(3, positives_L),
            "auc": ordered_L - total(negatives_above_C) / (positives_L * np.maximum(negatives_L, 1)),
            "ndcg@10": ordered_L * total(gain_C) / ideal_P[np.minimum(positives_L, _NDCG_AT)],
            "mrr": ordered_L / (first_L + 1),
        }
    )


def list_by_list(score: Callable[[int, Ints], Floats]) -> Scorer:
    """The scorer that asks for one user's tweets, int64, at a time."""

    def of_lists(lists: CandidateLists) -> Floats:
        bounds = zip(lists.user_L.tolist(), lists.starts[:-1], lists.starts[1:], strict=True)
        return np.concatenate([score(user, lists.tweet_C[start:end]) for user, start, end in bounds])

    return of_lists


def random_scorer(seed: int) -> Scorer:
    """Coin flips: the floor."""
    return lambda lists: np.random.default_rng(seed).random(len(lists.tweet_C))


def recency_scorer(problem: Problem) -> Scorer | None:
    """The newest first; None for a network without times."""
    posted_T = problem.posted_T
    return None if posted_T is None else lambda lists: posted_T[lists.tweet_C].astype(np.float64)


def followee_count_scorer(problem: Problem) -> Scorer:
    """How many of the user's followees retweeted the tweet in training."""
    retweets, follows = problem.retweets, grouped_matrix(problem.followees, problem.users)

    def score(lists: CandidateLists) -> Floats:
        list_N, tweet_N, count_N = entries(csr_array(follows[lists.user_L] @ retweets))
        place_C, found_C = find(lists.list_C * problem.tweets + lists.tweet_C, list_N * problem.tweets + tweet_N)
        score_C = np.zeros(len(found_C))
        score_C[found_C] = count_N[place_C[found_C]]
        return score_C

    return score


def popularity_scorer(problem: Problem) -> Scorer:
    """Retweets of a tweet in training."""
    count_T = np.bincount(problem.tweet_P, minlength=problem.tweets).astype(np.float64)
    return lambda lists: count_T[lists.tweet_C]
