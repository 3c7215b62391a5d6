"""What no model can beat on a made network: scores by the planted truth, whole and in parts.

Shape suffixes: U users, C candidates, E follows, D topic dimensions (16).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from training.synthesize.behaviour import (
    BIAS,
    PERSONAL_WEIGHT,
    SOCIAL_WEIGHT,
    Truth,
    standardised,
)
from training.synthesize.follows import Floats, Indices

CEILINGS = ("bayes", "content only", "personal only", "social only", "uniform attention")

PairScores = Callable[[int, Indices], Floats]
"""User, tweets int64 [C] -> scores float64 [C]; both are numbered as in the Truth's arrays, the order of their ids."""


def ceilings(truth: Truth) -> dict[str, PairScores]:
    """Scores by the name of what they know, in the order of CEILINGS.

    `bayes` is the log-odds of a retweet, `content only` leaves out the tweet's popularity, `personal only` is f,
    `social only` is h, and `uniform attention` has h of the plain mean of the followees' tastes.
    """
    followees_U = np.bincount(truth.follower_E, minlength=len(truth.tastes_UD))
    uniform = standardised(replace(truth, influence_E=1.0 / followees_U[truth.follower_E]))

    def content(of: Truth, user: int, tweet_C: Indices, personal: float, social: float) -> Floats:
        f_C1, h_C1 = of.affinities(of.topics[tweet_C], np.array([user]))
        score_C: Floats = personal * f_C1[:, 0] + social * h_C1[:, 0]
        return score_C

    def bayes(user: int, tweet_C: Indices) -> Floats:
        return BIAS + content(truth, user, tweet_C, PERSONAL_WEIGHT, SOCIAL_WEIGHT) + truth.popularity_T[tweet_C]

    scores: list[PairScores] = [
        bayes,
        lambda user, tweet_C: content(truth, user, tweet_C, PERSONAL_WEIGHT, SOCIAL_WEIGHT),
        lambda user, tweet_C: content(truth, user, tweet_C, 1.0, 0.0),
        lambda user, tweet_C: content(truth, user, tweet_C, 0.0, 1.0),
        lambda user, tweet_C: content(uniform, user, tweet_C, PERSONAL_WEIGHT, SOCIAL_WEIGHT),
    ]
    return dict(zip(CEILINGS, scores, strict=True))
