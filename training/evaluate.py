"""The in-network protocol: who retweets what of the things that followees showed them in a period.

A user's list is the image tweets that followees posted or retweeted; what the user retweeted of it is positive.

Shape suffixes: C candidates, N followees, T image tweets, D dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training import metrics
from training.errors import NotEnoughData
from training.model import Amnl, Scores
from training.network import Exposures, Ints, Network, group

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class CandidateList:
    """What one user could have retweeted in a period: tweets [C] and which were."""

    user: int
    tweet_C: Ints
    positive_C: npt.NDArray[np.bool_]


Scorer = Callable[[CandidateList], Floats]


def candidate_lists(network: Network, exposed: Exposures, start: int, end: int) -> list[CandidateList]:
    """Lists of the exposures from `start` up to `end` (Unix ms), for users with a positive and a negative among them.

    What a user retweeted before `start` is left out, as the service leaves it out.

    Raises NotEnoughData where there is no such user.
    """
    seen_already_X = network.retweeted_before(exposed.user_X, exposed.tweet_X, start)
    inside = (exposed.at_X >= start) & (exposed.at_X < end) & ~seen_already_X
    user_X, tweet_X = exposed.user_X[inside], exposed.tweet_X[inside]
    positive_X = network.retweeted_before(user_X, tweet_X, end)
    exposures_of = group(user_X, np.arange(len(user_X)), len(network.user_ids))
    lists = []
    for user in range(len(network.user_ids)):
        positive_C = positive_X[exposures_of[user]]
        if positive_C.any() and not positive_C.all():
            lists.append(CandidateList(user, tweet_X[exposures_of[user]], positive_C))
    if not lists:
        raise NotEnoughData("no user has both retweeted and unretweeted exposures in the period that is judged")
    return lists


def evaluate(lists: Sequence[CandidateList], scorer: Scorer, seed: int) -> dict[str, float]:
    """Mean over users of P@1, P@3, AUC, NDCG@10 and MRR; ties are broken at random, by the seed."""
    generator = np.random.default_rng(seed)
    rows = []
    for candidates in lists:
        score_C = np.asarray(scorer(candidates), dtype=np.float64)
        best_first = np.lexsort((generator.random(len(score_C)), -score_C))
        positive_C = candidates.positive_C[best_first]
        rows.append(
            (
                metrics.precision_at(positive_C, 1),
                metrics.precision_at(positive_C, 3),
                metrics.auc(positive_C),
                metrics.ndcg_at(positive_C, 10),
                metrics.reciprocal_rank(positive_C),
            )
        )
    means = np.mean(rows, axis=0)
    return dict(zip(("p@1", "p@3", "auc", "ndcg@10", "mrr"), (float(mean) for mean in means), strict=True))


def model_scorer(model: Amnl, network: Network, users: Ints, z_TD: torch.Tensor) -> Scorer:
    """Scores by the model in torch; only these users have a vector, as in service."""
    known_U = np.zeros(len(network.user_ids), dtype=bool)
    known_U[users] = True

    def score(candidates: CandidateList) -> Floats:
        scores = score_user(model, network, known_U, candidates.user, z_TD[torch.from_numpy(candidates.tweet_C)])
        return scores.score_BC[0].numpy()

    return score


@torch.inference_mode()
def score_user(model: Amnl, network: Network, known_U: npt.NDArray[np.bool_], user: int, z_CD: torch.Tensor) -> Scores:
    """The ranker's outputs for one user of the network (a batch of 1); `known_U` says who has a vector."""
    vectors_UD = model.user_vectors.weight
    followees = network.followees[user]
    followee_N = torch.from_numpy(followees[known_U[followees]])
    scores: Scores = model.ranker(
        vectors_UD[user][None],
        torch.tensor([bool(known_U[user])]),
        vectors_UD[followee_N][None],
        torch.ones(1, len(followee_N), dtype=torch.bool),
        z_CD[None],
    )
    return scores


def random_scorer(seed: int) -> Scorer:
    """Coin flips: the floor."""
    generator = np.random.default_rng(seed)
    return lambda candidates: generator.random(len(candidates.tweet_C))


def popularity_scorer(network: Network, until: int) -> Scorer:
    """Retweets of a tweet before `until` (Unix ms)."""
    count_T = np.bincount(network.retweet_tweet_R[network.retweet_at_R < until], minlength=len(network.tweet_ids))
    return lambda candidates: count_T[candidates.tweet_C].astype(np.float64)
