"""The two sizes of a made network: one for a quick start, and the paper's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.synthesize.follows import Floats, Indices, even_counts, even_normals, heavy_tailed_counts


@dataclass(frozen=True)
class Size:
    """How many of everything, and what goes with it."""

    users: int
    tweets: int
    followees: float
    """Mean over all users."""
    followee_counts: Callable[[int, float, np.random.Generator], Indices]
    """Users, mean followees, random numbers -> how many each follows, (U, 2): within the community, anywhere."""
    normals: Callable[[np.random.Generator, int], Floats]
    """Random numbers, count -> standard normal numbers, for authority."""
    authority_spread: float
    """Standard deviation of the logarithm of authority, by which users are followed and heeded."""
    activity: float
    """Power of a user's authority by which they write tweets."""
    lifetime_s: float
    """Mean age at which a tweet leaves the timelines."""
    popularity: float
    """Mean popularity of a tweet, in log-odds; where `retweets` is given, the one to start the search from."""
    retweets: float | None
    """Mean over all users, to the nearest percent or so; None takes what comes."""
    discover_alone: float
    """Tweets that `discover` shows to a user without followees, on average."""
    discover_following: float
    """The same for a user with followees, of tweets whose author they do not follow."""


SMALL = Size(
    users=500,
    tweets=700,
    followees=22.0,
    followee_counts=even_counts,
    normals=np.random.Generator.standard_normal,
    authority_spread=0.9,
    activity=0.7,
    lifetime_s=3 * 3_600.0,
    popularity=-1.0,
    retweets=None,
    discover_alone=0.0,
    discover_following=0.0,
)
PAPER = Size(
    users=9_900,
    tweets=7_193,
    followees=29_501 / 9_900,
    followee_counts=heavy_tailed_counts,
    normals=even_normals,
    authority_spread=1.1,
    activity=1.4,
    lifetime_s=6 * 3_600.0,
    popularity=-0.6,
    retweets=90_000 / 9_900,
    discover_alone=90.0,
    discover_following=150.0,
)
SIZES = {"small": SMALL, "paper": PAPER}
