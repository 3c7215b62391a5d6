"""Made people for pictures that have a kind each.

Each person likes one kind of picture or two, follows mostly those who like the same, and retweets half of what they
like of what their followees post or retweet, and little else: so there is something to learn from pictures alone.

Shape suffixes: U people, K kinds, T pictures.
"""

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FOLLOWEES = 12
ALIKE = 0.7
"""Share of followees and of authors who like the same kind."""
LIKED, OTHERWISE = 0.5, 0.03
"""How likely one retweets what one is shown."""
PERIOD_S, DELAY_S = 30 * 86_400, 3_600
"""In which all is posted; the mean time that a retweet takes."""


@dataclass(frozen=True)
class People:
    """What they like, bool [U, K], and the followees of each."""

    likes_UK: npt.NDArray[np.bool_]
    followees: list[list[int]]


Retweet = tuple[int, int, int]
"""When (s after START), picture, person."""


def draw_people(users: int, kinds: int, rng: np.random.Generator) -> People:
    """Who likes what, every kind by as many, and who follows whom."""
    likes_UK = np.zeros((users, kinds), dtype=bool)
    likes_UK[np.arange(users), np.arange(users) % kinds] = True
    if kinds > 2:
        likes_UK[np.arange(users), rng.integers(kinds, size=users)] = True
    alike_UU = (likes_UK.astype(int) @ likes_UK.T.astype(int)) > 0
    followees = []
    for user in range(users):
        weight_U = np.where(alike_UU[user], ALIKE / max(1, alike_UU[user].sum()), (1 - ALIKE) / users)
        weight_U[user] = 0
        chosen = rng.choice(users, size=min(FOLLOWEES, users - 1), replace=False, p=weight_U / weight_U.sum())
        followees.append(sorted(chosen.tolist()))
    return People(likes_UK, followees)


def draw_posts(
    number_T: npt.NDArray[np.int64], people: People, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Authors and times (s after START) of pictures, by the number of their kind."""
    users = len(people.likes_UK)
    fans = [np.flatnonzero(people.likes_UK[:, kind]) for kind in range(people.likes_UK.shape[1])]
    author_T = [
        rng.choice(fans[kind]) if len(fans[kind]) and rng.random() < ALIKE else rng.integers(users) for kind in number_T
    ]
    return np.array(author_T), rng.integers(PERIOD_S, size=len(number_T))


def draw_retweets(
    number_T: npt.NDArray[np.int64],
    author_T: npt.NDArray[np.int64],
    posted_T: npt.NDArray[np.int64],
    people: People,
    rng: np.random.Generator,
) -> list[Retweet]:
    """In order of time: whom a picture reaches by the author and by those who retweet it, and who retweets it."""
    followers: list[list[int]] = [[] for _ in people.followees]
    for user, followees in enumerate(people.followees):
        for followee in followees:
            followers[followee].append(user)
    retweets = []
    for picture, kind in enumerate(number_T.tolist()):
        shown, sharing = {int(author_T[picture])}, [(int(posted_T[picture]), int(author_T[picture]))]
        while sharing:
            at, sharer = heapq.heappop(sharing)
            for user in followers[sharer]:
                if user in shown:
                    continue
                shown.add(user)
                if rng.random() < (LIKED if people.likes_UK[user, kind] else OTHERWISE):
                    later = at + 60 + int(rng.exponential(DELAY_S))
                    heapq.heappush(sharing, (later, user))
                    retweets.append((later, picture, user))
    return sorted(retweets)
