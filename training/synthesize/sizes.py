"""The two sizes of a made network: one for a quick start, and the paper's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.synthesize.follows import Indices, even_counts, heavy_tailed_counts


@dataclass(frozen=True)
class Size:
    """How many of everything, and what goes with it."""

    users: int
    tweets: int
    followees: float
    """Mean over all users."""
    followee_counts: Callable[[int, float, np.random.Generator], Indices]
    """Users, mean followees, random numbers -> how many each follows, (U, 2): within the community, anywhere."""
    activity: float
    """Power of a user's authority by which they write tweets."""
    lifetime_s: float
    """Mean age at which a tweet leaves the timelines."""
    popularity: float
    """Mean popularity of a tweet, in log-odds: the fewer see a tweet, the more of them must like it."""
    discover_alone: float
    """Probability that `discover` shows a given tweet to a user without followees."""
    discover_following: float
    """The same of a user with followees, unless they follow the author."""


SMALL = Size(
    users=500,
    tweets=700,
    followees=22.0,
    followee_counts=even_counts,
    activity=0.7,
    lifetime_s=3 * 3_600.0,
    popularity=0.0,
    discover_alone=0.0,
    discover_following=0.0,
)
PAPER = Size(
    users=9_900,
    tweets=7_193,
    followees=29_501 / 9_900,
    followee_counts=heavy_tailed_counts,
    activity=1.5,
    lifetime_s=8 * 3_600.0,
    popularity=0.9,
    discover_alone=0.0064,
    discover_following=0.0008,
)
SIZES = {"small": SMALL, "paper": PAPER}
