"""Who follows whom: half within the community, half by authority alone.

Shape suffixes: U user, E follow (an edge), P pool (community, everybody).
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

FEW_WITHOUT, MANY_WITHOUT = 0.03, 0.52
"""Share of users without followees."""
EVEN_SPREAD, HEAVY_SPREAD = 0.5, 1.1
"""Standard deviation of the logarithm of how many followees a user wants."""
MOST_FOLLOWEES = 162


def even_counts(users: int, followees: float, rng: np.random.Generator) -> Indices:
    """How many each user follows, (U, 2) by pool, on average `followees` a user: hardly anybody follows no one."""
    wanted_U = np.exp(EVEN_SPREAD * rng.standard_normal(users))
    wanted_U *= followees / (wanted_U.mean() * (1.0 - FEW_WITHOUT))
    wanted_U[rng.random(users) < FEW_WITHOUT] = 0.0
    return np.rint(wanted_U / 2).astype(np.int64)[:, None].repeat(2, axis=1)


def heavy_tailed_counts(users: int, followees: float, rng: np.random.Generator) -> Indices:
    """As `even_counts`, of the paper's shape: half of all users follow nobody, a few very many.

    The sum over all users is `followees` a user, to the nearest whole follow, but at least one for each who follows
    anyone and at most MOST_FOLLOWEES.
    """
    followers = users - round(MANY_WITHOUT * users)
    total = max(round(followees * users), followers)
    beyond_one_U = np.exp(HEAVY_SPREAD * even_normals(rng, followers))
    for _ in range(50 if total > followers else 0):  # what the cap takes from the few goes to the many
        beyond_one_U = np.minimum(beyond_one_U * (total - followers) / beyond_one_U.sum(), MOST_FOLLOWEES - 1)
    upto_U = np.rint(np.cumsum(beyond_one_U * (total > followers))).astype(np.int64)
    count_U = np.zeros(users, dtype=np.int64)
    count_U[rng.permutation(users)[:followers]] = 1 + np.diff(upto_U, prepend=0)
    within_U = (count_U + rng.integers(2, size=users)) // 2
    return np.stack([within_U, count_U - within_U], axis=1)


def even_normals(rng: np.random.Generator, count: int) -> Floats:
    """Quantiles of the standard normal distribution in random order: every seed has the same few extremes."""
    normal = NormalDist()
    return rng.permutation([normal.inv_cdf((rank + 0.5) / count) for rank in range(count)])


def draw_follows(
    community_U: Indices, authority_U: Floats, count_UP: Indices, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Follower and followee of each follow, (E,) each, in order; a pool that is too small gives what it has."""
    users = len(community_U)
    follower, followee = [], []
    for user in range(users):
        chosen = np.zeros(users, dtype=bool)
        for pool_U, wanted in zip(
            (community_U == community_U[user], np.ones(users, dtype=bool)), count_UP[user].tolist(), strict=True
        ):
            weight_U = np.where(pool_U & ~chosen, authority_U, 0.0)
            weight_U[user] = 0.0
            count = min(wanted, int(np.count_nonzero(weight_U)))
            if count:
                chosen[rng.choice(users, size=count, replace=False, p=weight_U / weight_U.sum())] = True
        followee.append(np.flatnonzero(chosen))
        follower.append(np.full(len(followee[-1]), user))
    return np.concatenate(follower).astype(np.int64), np.concatenate(followee).astype(np.int64)
