"""The secondary protocol, "paper-like": a reconstruction of how the paper seems to have judged.

Each user has a cut of the user's own, so no moment is global: what others retweet after it, and the words and pictures
of all tweets, are there in training. Negatives come from a user's whole time and positives from its end, so that how
new a tweet is says much here, and its retweets in training mislead.

Shape suffixes: U users, X exposures, R retweets, C candidates.
"""

import numpy as np

from training.errors import NotEnoughData
from training.indexing import rank_within
from training.network import Exposures, Ints, Network, group
from training.problem import Bools, CandidateLists, Content, Problem, lists_by_user, problem_by_user

NEGATIVES = 2
"""Negatives a test retweet."""
_SEED = 0


def secondary_problem_of(
    network: Network, exposed: Exposures, share: float, validation_share: float, content: Content
) -> Problem:
    """The first `share` of each user's retweets is before the cut, the last `validation_share` of those is validation.

    Both are rounded to whole retweets, halves to the even number: at .8 a user with one retweet or two is not tested,
    and at .1 one with fewer than five before the cut has no validation list. A period ends with its last retweet.

    A test list is all retweets after the cut, whoever showed them, and the drawn negatives; who has none, as who
    follows nobody, has a list of positives. Negatives are drawn once, the same for all systems, and neither trained nor
    validated on. Validation lists are in-network, as in the primary protocol. Raises NotEnoughData where a period is
    too thin.
    """
    before_test_U = _share_of(np.bincount(network.retweet_user_R, minlength=len(network.user_ids)), share)
    test_from_U = _end_of(network, before_test_U)
    validation_from_U = _end_of(network, _share_of(before_test_U, 1 - validation_share))
    of_test_R = network.retweet_at_R >= test_from_U[network.retweet_user_R]
    if not of_test_R.any():
        raise NotEnoughData("no user has retweets enough for one of them to be tested on")
    drawn_X = _drawn(network, exposed, of_test_R)
    test = _test_lists(network, exposed, of_test_R, drawn_X)
    rest = Exposures(exposed.user_X[~drawn_X], exposed.tweet_X[~drawn_X], exposed.at_X[~drawn_X])
    return problem_by_user(network, rest, validation_from_U, test_from_U, content, test)


def _share_of(count_U: Ints, share: float) -> Ints:
    return np.asarray(np.rint(share * count_U), dtype=np.int64)


def _end_of(network: Network, count_U: Ints) -> Ints:
    """The moment after each user's first so many retweets (Unix ms), [U]; 0 for none. Ties stay together."""
    at = group(network.retweet_user_R, network.retweet_at_R, len(network.user_ids))
    some_U = count_U > 0
    end_U = np.zeros(len(count_U), dtype=np.int64)
    end_U[some_U] = at.values[(at.starts[:-1] + count_U - 1)[some_U]] + 1
    return end_U


def _drawn(network: Network, exposed: Exposures, of_test_R: Bools) -> Bools:
    """Which exposures are test negatives, [X]: NEGATIVES a test retweet, or all that the user never retweeted."""
    users = len(network.user_ids)
    never_X = ~network.retweeted_before(
        exposed.user_X, exposed.tweet_X, np.full(users, int(network.retweet_at_R[-1]) + 1)
    )
    wanted_U = NEGATIVES * np.bincount(network.retweet_user_R[of_test_R], minlength=users)
    draw_X = np.random.default_rng(_SEED).random(len(never_X))
    drawn_X: Bools = never_X & (rank_within(exposed.user_X, ~never_X, draw_X) < wanted_U[exposed.user_X])
    return drawn_X


def _test_lists(network: Network, exposed: Exposures, of_test_R: Bools, drawn_X: Bools) -> CandidateLists:
    user_C = np.concatenate([network.retweet_user_R[of_test_R], exposed.user_X[drawn_X]])
    tweet_C = np.concatenate([network.retweet_tweet_R[of_test_R], exposed.tweet_X[drawn_X]])
    return lists_by_user(user_C, tweet_C, np.arange(len(user_C)) < of_test_R.sum(), short=True)
