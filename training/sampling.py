"""Training triples: a retweet and tweets that the user did not retweet (section 4.3).

Shape suffixes: P positives, B triples, K negatives a positive.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.errors import NotEnoughData
from training.indexing import among
from training.network import Grouped, Ints
from training.problem import Bools, Problem
from training.settings import Negatives

_TRIES = 8


@dataclass(frozen=True)
class TripleSampler:
    """Draws negatives: from `pool` for the positives named by `pooled_P`, among `existing` tweets for the others.

    `retweeted` are the keys user x tweets + tweet of all positives, sorted.
    """

    user_P: Ints
    tweet_P: Ints
    pooled_P: Bools
    pool: Grouped
    existing: Ints
    tweets: int
    retweeted: Ints

    def batches(self, batch: int, negatives: int, seed: int, epoch: int) -> Iterator[tuple[Ints, Ints, Ints]]:
        """An epoch, shuffled: users [B], positives [B] and negatives [B, K] a batch; fixed by seed and epoch."""
        generator = np.random.default_rng([seed, epoch])
        order_P = generator.permutation(len(self.user_P))
        for start in range(0, len(order_P), batch):
            order_B = order_P[start : start + batch]
            user_B, pooled_B = self.user_P[order_B], self.pooled_P[order_B]
            negative_BK = np.empty((len(order_B), negatives), dtype=np.int64)
            negative_BK[pooled_B] = self._pooled(user_B[pooled_B], negatives, generator)
            negative_BK[~pooled_B] = self._uniform(user_B[~pooled_B], negatives, generator)
            yield user_B, self.tweet_P[order_B], negative_BK

    def is_retweeted(self, user_X: Ints, tweet_X: Ints) -> Bools:
        """Whether each pair is a positive; the two arrays broadcast."""
        return among(user_X * self.tweets + tweet_X, self.retweeted)

    def _pooled(self, user_P: Ints, negatives: int, generator: np.random.Generator) -> Ints:
        offset_PK = generator.integers(self.pool.counts[user_P][:, None], size=(len(user_P), negatives))
        drawn_PK: Ints = self.pool.values[self.pool.starts[user_P][:, None] + offset_PK]
        return drawn_PK

    def _uniform(self, user_P: Ints, negatives: int, generator: np.random.Generator) -> Ints:
        """Retweeted ones are drawn again, a few times; who retweeted nearly everything keeps some."""
        drawn_PK = self._any((len(user_P), negatives), generator)
        for _ in range(_TRIES):
            again_PK = self.is_retweeted(user_P[:, None], drawn_PK)
            if not again_PK.any():
                break
            drawn_PK[again_PK] = self._any((int(again_PK.sum()),), generator)
        return drawn_PK

    def _any(self, shape: tuple[int, ...], generator: np.random.Generator) -> Ints:
        drawn: Ints = self.existing[generator.integers(len(self.existing), size=shape)]
        return drawn


def triple_sampler(problem: Problem, negatives: Negatives) -> TripleSampler:
    """Sample negatives from a problem's training period.

    followees  from what followees showed and the user passed by (the paper's); users who have none are left out
    matched    so for what a followee had posted or retweeted; for other positives among all tweets that there were
    uniform    among all tweets that there were

    Raises NotEnoughData where no user has both a positive and a negative.
    """
    user_P, tweet_P = problem.user_P, problem.tweet_P
    usable_P = problem.unretweeted.counts[user_P] > 0
    match negatives:
        case "followees":
            user_P, tweet_P = user_P[usable_P], tweet_P[usable_P]
            pooled_P = np.ones(len(user_P), dtype=bool)
        case "matched":
            pooled_P = usable_P & problem.shown_P
        case "uniform":
            pooled_P = np.zeros(len(user_P), dtype=bool)
    if not len(user_P):
        raise NotEnoughData("no user has both a retweet and an unretweeted tweet of a followee before the test period")
    retweeted = np.unique(problem.user_P * problem.tweets + problem.tweet_P)
    return TripleSampler(user_P, tweet_P, pooled_P, problem.unretweeted, problem.existing, problem.tweets, retweeted)
