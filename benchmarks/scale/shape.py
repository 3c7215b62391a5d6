"""The shape of a network of any size: how many somebody follows, who is followed, what is on a timeline.

Shape suffixes: Q quantiles, N followees.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtri

from benchmarks.scale.assumptions import Assumptions
from contract.graph import MOST_FOLLOWEES, TIMELINE_LIMIT

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_TAIL = 0.01
_PAPERS_USERS = 9_900
_GRID = np.concatenate(
    [np.linspace(0, 0.999, 20_000, endpoint=False) + 0.999 / 40_000, 1 - np.logspace(-3, -10, 20_000)]
)


@dataclass(frozen=True)
class Network:
    """`users` of them, by the assumptions."""

    users: float
    assumed: Assumptions
    _mu: float = field(init=False)
    _sigma: float = field(init=False)

    def __post_init__(self) -> None:
        sigma = lognormal_width(self.assumed)
        object.__setattr__(self, "_sigma", sigma)
        mean = self.assumed.followees
        object.__setattr__(self, "_mu", brentq(lambda mu: _mean(self._followees_at(_GRID, mu)) - mean, -3, 3))

    def followees_at(self, u_Q: Floats) -> Ints:
        """How many followees they have who follow anyone, by quantile: at least 1."""
        return np.maximum(1, np.round(self._followees_at(u_Q, self._mu))).astype(np.int64)

    def _followees_at(self, u_Q: Floats, mu: float) -> Floats:
        body_Q = np.exp(mu + self._sigma * ndtri(np.minimum(u_Q, 1 - _TAIL)))
        tail_Q = np.maximum(1, _TAIL / np.maximum(1 - u_Q, 1e-300)) ** (1 / self.assumed.followees_tail)
        return np.asarray(np.minimum(body_Q * tail_Q, MOST_FOLLOWEES))

    @property
    def follows(self) -> float:
        """A user, over all of them: as many followers."""
        return self.assumed.following * self.assumed.followees

    def authors(self, u_N: Floats) -> Ints:
        """Whom a follow leads to, by how much they are followed: 0 is the author who is followed most."""
        return np.asarray(np.minimum(self.users * u_N ** (1 / (1 - self._zipf)), self.users - 1)).astype(np.int64)

    def followers_of(self, rank_N: Ints | Floats) -> Floats:
        """Of authors by rank: a power law whose mean is `follows`."""
        return np.asarray(self.follows * (1 - self._zipf) * ((rank_N + 0.5) / self.users) ** -self._zipf)

    def share_of_authors(self, followers: float) -> float:
        """Of all users, those with at least so many followers."""
        return float(min(1.0, (followers / (self.follows * (1 - self._zipf))) ** -self.assumed.followers_tail))

    def share_of_follows(self, followers: float) -> float:
        """Of all follows, those of authors with at least so many followers: none where nobody has as many."""
        share = self.share_of_authors(followers)
        return 0.0 if share * self.users < 0.5 else float(share ** (1 - self._zipf))

    def entries_of(self, rank_N: Ints) -> Ints:
        """How many entries an author's timeline has: drawn, and the same whenever it is asked for."""
        return self.entries_at(scattered(rank_N)).astype(np.int64)

    def entries_at(self, u_Q: Floats) -> Floats:
        """How many entries a timeline has, by quantile: a lognormal law."""
        mean, sigma = self.assumed.tweets + self.assumed.retweets, self.assumed.entries_sigma
        drawn_Q = np.exp(math.log(mean) - sigma**2 / 2 + sigma * ndtri(u_Q))
        return np.asarray(np.clip(np.round(drawn_Q), 0, TIMELINE_LIMIT))

    @property
    def _zipf(self) -> float:
        return 1 / self.assumed.followers_tail


def lognormal_width(assumed: Assumptions) -> float:
    """For which the largest of the paper's users who follow anyone is likely the one that it had."""
    z = float(ndtri(1 - 1 / (_PAPERS_USERS * assumed.following)))
    gap = math.log(assumed.followees_max / assumed.followees)  # z s - s^2 / 2
    return z - math.sqrt(z**2 - 2 * gap)


def scattered(numbers_N: Ints) -> Floats:
    """A number within (0, 1) for each, as if by chance (splitmix64)."""
    x_N = (numbers_N.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x_N = (x_N ^ (x_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_N = (x_N ^ (x_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((x_N ^ (x_N >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53


def _mean(values_Q: Floats) -> float:
    """Of values at the grid's quantiles."""
    ends_Q = np.concatenate([[0.0], (_GRID[1:] + _GRID[:-1]) / 2, [1.0]])
    return float(np.dot(values_Q, np.diff(ends_Q)))
