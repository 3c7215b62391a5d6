"""New tweets with a known answer: one that a user would surely retweet and one that the user surely would not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthesize.behaviour import Truth, draw_topics
from training.synthesize.cascades import Exposure

USERS = 20
MIN_RETWEETS = 12
"""History that a user needs; in a small network, where few have it, the upper quartile will do."""
MIN_FOLLOWEES = 5
_CANDIDATES = 4_000


@dataclass(frozen=True)
class NewTweet:
    """A tweet that is not in the network yet, by a followee of the user whom it is for."""

    user: int
    author: int
    visual_V: NDArray[np.float64]
    text_V: NDArray[np.float64]
    kind: str
    """"matching" or "unlike"."""
    probability: float
    """That the user retweets it once exposed to it."""


@dataclass(frozen=True)
class _Pair:
    margin: float
    matching: NewTweet
    unlike: NewTweet


def draw_new_tweets(
    truth: Truth, exposures: list[Exposure], popularity: float, rng: np.random.Generator
) -> list[NewTweet]:
    """A matching and an unlike tweet for each of up to 20 well-connected users, the clearest user first.

    All have the given popularity.

    Own and social affinity agree on each: both high on the matching tweet, both low on the unlike one. The margin that
    sorts the users is the smaller of how far, in log-odds, the matching tweet lies above the 95th percentile of the
    user's true exposures and the unlike one below the 5th.
    """
    topics_ND = np.concatenate(draw_topics(_CANDIDATES, rng), axis=1)
    logits_of: dict[int, list[float]] = {}
    retweets_U = np.zeros(len(truth.tastes_UD), dtype=np.int64)
    for exposure in exposures:
        logits_of.setdefault(exposure.user, []).append(float(np.log(exposure.probability / (1 - exposure.probability))))
        retweets_U[exposure.user] += exposure.retweeted
    followees_U = np.bincount(truth.follower_E, minlength=len(truth.tastes_UD))
    enough = min(MIN_RETWEETS, float(np.quantile(retweets_U, 0.75)))
    fit = np.flatnonzero((retweets_U >= max(enough, 1)) & (followees_U >= MIN_FOLLOWEES))
    pairs = [_pair(truth, int(user), logits_of[int(user)], topics_ND, popularity) for user in fit]
    pairs = sorted(pairs, key=lambda pair: -pair.margin)[:USERS]
    return [new for pair in pairs for new in (pair.matching, pair.unlike)]


def _pair(
    truth: Truth, user: int, exposed_logits: list[float], topics_ND: NDArray[np.float64], popularity: float
) -> _Pair:
    users = np.array([user])
    own, social = truth.affinities(topics_ND, users)
    logit_N = truth.logits(topics_ND, users, np.full(len(topics_ND), popularity))[:, 0]
    best = int(np.argmax(np.minimum(own, social)))
    worst = int(np.argmin(np.maximum(own, social)))
    low, high = np.percentile(exposed_logits, [5, 95])
    follows = np.flatnonzero(truth.follower_E == user)
    author = int(truth.followee_E[follows[np.argmax(truth.influence_E[follows])]])

    def new(row: int, kind: str) -> NewTweet:
        probability = float(1.0 / (1.0 + np.exp(-logit_N[row])))
        return NewTweet(user, author, topics_ND[row, :8], topics_ND[row, 8:], kind, probability)

    margin = min(float(logit_N[best] - high), float(low - logit_N[worst]))
    return _Pair(margin, new(best, "matching"), new(worst, "unlike"))
