"""Problems in which one of the things that the model reads tells nothing; what is judged, and how, stays as it was.

Shape suffixes: T image tweets, E follow edges.
"""

from dataclasses import replace

import numpy as np
import torch

from training.errors import NotForThisNetwork
from training.network import Grouped, group
from training.problem import Problem

_SWAPS = 10
"""Tried for every edge: an edge takes part in twice as many."""


def permuted_pictures(problem: Problem, seed: int) -> Problem:
    """Every tweet shows another's picture. Raises NotForThisNetwork where there are none."""
    content = problem.content
    if content.x_TF is None or content.x_is_text:
        raise NotForThisNetwork("it needs pictures, which this network has none of")
    return replace(problem, content=replace(content, x_TF=content.x_TF[_order_T(problem, seed)]))


def permuted_words(problem: Problem, seed: int) -> Problem:
    """Every tweet has another's words, as tokens and as features. Raises NotForThisNetwork where there are none."""
    content, order_T = problem.content, _order_T(problem, seed)
    x_TF, ids_TSW = content.x_TF, content.token_ids_TSW
    if content.x_is_text and x_TF is not None:
        x_TF = x_TF[order_T]
    elif ids_TSW is None:
        raise NotForThisNetwork("it needs text, which this network has none of")
    ids_TSW = None if ids_TSW is None else ids_TSW[order_T]
    return replace(problem, content=replace(content, x_TF=x_TF, token_ids_TSW=ids_TSW))


def rewired_follows(problem: Problem, seed: int) -> Problem:
    """Everyone follows as many as before, and is followed by as many, but chance says who follows whom."""
    return replace(problem, followees=rewired(problem.followees, seed))


def rewired(followees: Grouped, seed: int) -> Grouped:
    """A random graph with the same number of followees and of followers for everyone.

    Two edges a > b and c > d become a > d and c > b, unless a user would follow themselves or someone twice.
    """
    users = len(followees)
    follower_E = np.repeat(np.arange(users), followees.counts).tolist()
    followee_E = followees.values.tolist()
    edges = {a * users + b for a, b in zip(follower_E, followee_E, strict=True)}
    pairs = np.random.default_rng(seed).integers(len(edges), size=(_SWAPS * len(edges), 2))
    for first, second in pairs.tolist():
        a, b, c, d = follower_E[first], followee_E[first], follower_E[second], followee_E[second]
        if a != d and b != c and a * users + d not in edges and c * users + b not in edges:
            edges -= {a * users + b, c * users + d}
            edges |= {a * users + d, c * users + b}
            followee_E[first], followee_E[second] = d, b
    key_E = np.array(sorted(edges), dtype=np.int64)
    return group(key_E // users, key_E % users, users)


def _order_T(problem: Problem, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).permutation(problem.tweets))
