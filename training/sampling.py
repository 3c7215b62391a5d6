"""Training triples: a retweet and tweets from the user's followees that the user did not retweet (section 4.3).

Shape suffixes: P positives, B triples.
"""

from dataclasses import dataclass

import numpy as np

from training.errors import NotEnoughData
from training.network import Exposures, Grouped, Ints, Network, group


@dataclass(frozen=True)
class TripleSampler:
    """Positives of users who have at least one negative, and every user's negatives."""

    user_P: Ints
    tweet_P: Ints
    negatives: Grouped

    def epoch(self, negatives: int, seed: int, epoch: int) -> tuple[Ints, Ints, Ints]:
        """Users, positives and negatives, [B = P x negatives] each, shuffled; fixed by seed and epoch."""
        generator = np.random.default_rng([seed, epoch])
        user_B, positive_B = np.repeat(self.user_P, negatives), np.repeat(self.tweet_P, negatives)
        offset_B = generator.integers(self.negatives.counts[user_B])
        negative_B = self.negatives.values[self.negatives.starts[user_B] + offset_B]
        order = generator.permutation(len(user_B))
        return user_B[order], positive_B[order], negative_B[order]


def triple_sampler(network: Network, exposed: Exposures, until: int) -> TripleSampler:
    """Sample from what happened before `until` (Unix ms).

    A tweet that the user retweets only later is a negative like any other: leaving it out would leak the test.
    Raises NotEnoughData where no user has both a positive and a negative.
    """
    before = network.retweet_at_R < until
    user_P, tweet_P = network.retweet_user_R[before], network.retweet_tweet_R[before]
    seen = exposed.at_X < until
    user_X, tweet_X = exposed.user_X[seen], exposed.tweet_X[seen]
    unretweeted = ~network.retweeted_before(user_X, tweet_X, until)
    negatives = group(user_X[unretweeted], tweet_X[unretweeted], len(network.user_ids))
    usable = negatives.counts[user_P] > 0
    if not usable.any():
        raise NotEnoughData("no user has both a retweet and an unretweeted tweet of a followee before the test period")
    return TripleSampler(user_P[usable], tweet_P[usable], negatives)
