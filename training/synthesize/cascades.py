"""Who is shown a tweet, when and by whom, and who retweets it, with every probability logged.

A tweet is exposed to the author's followers and, on a retweet, to the retweeter's followers, unless it has aged out of
their timelines by then (exp(-age / lifetime)). A public timeline, "discover", shows some tweets to some users who do
not follow the author. A user's first exposure to a tweet is the one that counts.

Shape suffixes: U user.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from training.synthesize.behaviour import Truth
from training.synthesize.follows import Floats, Indices

DELAY_MEDIAN_S, DELAY_SPREAD = 45 * 60.0, 0.9
AUTHOR, DISCOVER = -1, -2
"""Sources of an exposure that are not a retweeting followee."""


@dataclass(frozen=True)
class Exposure:
    """A tweet shown to a user for the first time, and what came of it."""

    time_s: int
    tweet: int
    user: int
    source: int
    """The followee whose retweet brought it, or AUTHOR (the author's own post did), or DISCOVER."""
    probability: float
    retweeted_s: int
    """When the user retweeted it, or -1."""

    @property
    def retweeted(self) -> bool:
        """Whether the exposure led to a retweet."""
        return self.retweeted_s >= 0


def spread(
    truth: Truth,
    tweet: int,
    followers: list[Indices],
    logit_U: Floats,
    discovered: list[tuple[int, int]],
    lifetime_s: float,
    rng: np.random.Generator,
) -> list[Exposure]:
    """One tweet's cascade: its exposures in order of time.

    `followers` are each user's followers, `logit_U` each user's log-odds of retweeting the tweet once exposed, and
    `discovered` the seconds at which discover shows it, and the users to whom.
    """
    posted, author = int(truth.posted_s_T[tweet]), int(truth.author_T[tweet])
    probability_U = 1.0 / (1.0 + np.exp(-logit_U))
    seen = {author}
    exposures = []
    showings = [(posted, author, AUTHOR), *((time_s, user, DISCOVER) for time_s, user in discovered)]
    heapq.heapify(showings)
    while showings:
        time_s, shown, source = heapq.heappop(showings)
        fresh = 1.0 if source == DISCOVER else np.exp(-(time_s - posted) / lifetime_s)
        for user in [shown] if source == DISCOVER else followers[shown].tolist():
            if user in seen or rng.random() >= fresh:
                continue
            seen.add(user)
            probability, retweeted_s = float(probability_U[user]), -1
            if rng.random() < probability:
                delay = DELAY_MEDIAN_S * np.exp(DELAY_SPREAD * rng.standard_normal())
                retweeted_s = time_s + max(60, int(delay))
                heapq.heappush(showings, (retweeted_s, user, user))
            exposures.append(Exposure(time_s, tweet, user, source, probability, retweeted_s))
    return exposures


def discover(
    truth: Truth, tweet: int, followers: list[Indices], chance_U: Floats, lifetime_s: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """When the public timeline shows a tweet, and to whom: users drawn by `chance_U` who do not follow the author."""
    posted, author = int(truth.posted_s_T[tweet]), int(truth.author_T[tweet])
    shown_U = rng.random(len(chance_U)) < chance_U
    shown_U[author] = False
    shown_U[followers[author]] = False
    users = np.flatnonzero(shown_U)
    times_s = posted + np.ceil(rng.exponential(lifetime_s, len(users))).astype(np.int64)
    return list(zip(times_s.tolist(), users.tolist(), strict=True))


def followers_of(truth: Truth) -> list[Indices]:
    """Each user's followers in ascending order, by user index."""
    order_E = np.lexsort((truth.follower_E, truth.followee_E))
    bounds = np.searchsorted(truth.followee_E[order_E], np.arange(len(truth.tastes_UD) + 1))
    by_followee_E = truth.follower_E[order_E]
    return [by_followee_E[start:stop] for start, stop in pairwise(bounds.tolist())]
