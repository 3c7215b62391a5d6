"""The secondary protocol on networks made by hand and drawn at random. Author 0 posts everything."""

from collections.abc import Iterable

import numpy as np
import pytest

from training.errors import NotEnoughData
from training.evaluate import judge, random_scorer
from training.network import Exposures, Ints, Network, exposures, group
from training.problem import Content, Problem
from training.secondary import secondary_problem_of

TWEETS = 40
FOLLOWER, LONER, NEWCOMER, DEVOTEE = 1, 2, 3, 4
RETWEETED = [*range(0, TWEETS, 4)]
Retweet = tuple[int, int, int]
"""User, tweet, time."""


def network_of(users: int, followers: Iterable[int], retweets: list[Retweet]) -> Network:
    """Tweet t is posted at 10 t by user 0, whom `followers` follow."""
    follower_E = np.array([*followers])
    user_R, tweet_R, at_R = np.array(sorted(retweets, key=lambda retweet: retweet[2])).T
    return Network(
        user_ids=[f"u{user}" for user in range(users)],
        tweet_ids=[f"t{tweet}" for tweet in range(TWEETS)],
        texts=[""] * TWEETS,
        image_keys=[""] * TWEETS,
        author_T=np.zeros(TWEETS, dtype=np.int64),
        posted_T=10 * np.arange(TWEETS),
        followees=group(follower_E, np.zeros_like(follower_E), users),
        retweet_user_R=user_R,
        retweet_tweet_R=tweet_R,
        retweet_at_R=at_R,
    )


def of(user: int, tweets: Iterable[int]) -> list[Retweet]:
    """Retweets 5 after their tweets' posts."""
    return [(user, tweet, 10 * tweet + 5) for tweet in tweets]


def problem_of_network(network: Network, share: float = 0.8) -> Problem:
    return secondary_problem_of(network, exposures(network), share, 0.1, Content(None, None, 0))


def handmade() -> Network:
    """A follower, one who follows nobody, one with two retweets, and one who retweets all that there is."""
    retweets = of(FOLLOWER, RETWEETED) + of(LONER, range(5)) + of(NEWCOMER, (3, 4)) + of(DEVOTEE, range(TWEETS))
    return network_of(5, (FOLLOWER, NEWCOMER, DEVOTEE), retweets)


def list_of(problem: Problem, user: int) -> tuple[list[int], list[int]]:
    """Positives and negatives of a user's test list."""
    lists = problem.test
    mine_C = lists.user_C == user
    positive, negative = (lists.tweet_C[mine_C & (lists.positive_C == kind)] for kind in (True, False))
    return sorted(positive.tolist()), sorted(negative.tolist())


def trained(problem: Problem, user: int) -> list[int]:
    return sorted(problem.tweet_P[problem.user_P == user].tolist())


@pytest.mark.parametrize(
    ("share", "training", "validated", "follower", "loner"),
    [(0.6, 5, 1, 4, 2), (0.7, 6, 1, 3, 1), (0.8, 7, 1, 2, 1)],
)
def test_each_user_is_split_by_the_own_time(
    share: float, training: int, validated: int, follower: int, loner: int
) -> None:
    problem = problem_of_network(handmade(), share)
    assert trained(problem, FOLLOWER) == RETWEETED[:training]
    lists = problem.validation
    mine_C = lists.user_C == FOLLOWER
    assert lists.tweet_C[mine_C & lists.positive_C].tolist() == RETWEETED[training : training + validated]
    assert list_of(problem, FOLLOWER)[0] == RETWEETED[-follower:]
    assert list_of(problem, LONER)[0] == [*range(5)][-loner:]


def test_who_has_too_few_retweets_is_trained_on_alone() -> None:
    problem = problem_of_network(handmade())
    assert trained(problem, NEWCOMER) == [3, 4]
    assert NEWCOMER not in problem.test.user_L
    with pytest.raises(NotEnoughData):
        problem_of_network(network_of(2, [1], of(1, (0, 1))))


def test_retweets_of_one_moment_stay_together() -> None:
    *first, last = of(FOLLOWER, RETWEETED)
    together = [(FOLLOWER, tweet, 350) for tweet in RETWEETED[7:9]]
    problem = problem_of_network(network_of(2, [FOLLOWER], [*first[:7], *together, last]))
    assert list_of(problem, FOLLOWER)[0] == RETWEETED[9:]


def test_negatives_were_shown_and_never_retweeted_two_a_test_retweet() -> None:
    network = handmade()
    positives, negatives = list_of(problem_of_network(network), FOLLOWER)
    assert len(negatives) == len(set(negatives)) == 2 * len(positives)
    assert set(negatives).isdisjoint(RETWEETED)


def test_who_was_shown_little_has_fewer_negatives() -> None:
    fellow = 2
    network = network_of(3, (FOLLOWER, fellow), of(FOLLOWER, RETWEETED) + of(fellow, RETWEETED))
    exposed = exposures(network)
    shown_X = np.isin(exposed.tweet_X, [*RETWEETED, 1, 30]) | (exposed.user_X == fellow)
    few = Exposures(exposed.user_X[shown_X], exposed.tweet_X[shown_X], exposed.at_X[shown_X])
    problem = secondary_problem_of(network, few, 0.8, 0.1, Content(None, None, 0))
    assert list_of(problem, FOLLOWER) == (RETWEETED[-2:], [1, 30])


def test_who_has_no_negatives_is_kept_and_counts_for_precision_alone() -> None:
    problem = problem_of_network(handmade())
    assert list_of(problem, LONER) == ([4], [])
    assert list_of(problem, DEVOTEE) == ([*range(32, 40)], [])
    judgement = judge(problem.test, random_scorer(0), 0)
    assert problem.test.user_L.tolist() == [FOLLOWER, LONER, DEVOTEE]
    assert judgement.of_L["p@3"][1:].tolist() == [1, 1]
    assert np.isnan(judgement.of_L["auc"]).tolist() == [False, True, True]
    assert judgement.means["auc"] == judgement.of_L["auc"][0]


def test_what_is_judged_is_not_trained_on() -> None:
    problem = problem_of_network(drawn(), 0.6)
    judged = pairs(problem.test.user_C, problem.test.tweet_C)
    users = np.repeat(np.arange(problem.users), problem.unretweeted.counts)
    assert judged.isdisjoint(pairs(problem.user_P, problem.tweet_P))
    negative_C = ~problem.test.positive_C
    negatives = pairs(problem.test.user_C[negative_C], problem.test.tweet_C[negative_C])
    assert negatives.isdisjoint(pairs(users, problem.unretweeted.values))
    assert negatives.isdisjoint(pairs(problem.validation.user_C, problem.validation.tweet_C))


def test_the_lists_are_the_same_every_time() -> None:
    assert (problem_of_network(drawn()).test.tweet_C == problem_of_network(drawn()).test.tweet_C).all()


@pytest.mark.parametrize("share", [0.6, 0.8])
def test_a_coin_flip_scores_the_share_of_positives(share: float) -> None:
    """1 for the half who follow nobody; of the others' lists, where negatives suffice, a third is positive."""
    lists = problem_of_network(drawn(), share).test
    positive_L = np.add.reduceat(lists.positive_C, lists.starts[:-1], dtype=np.int64)
    expected = (positive_L / np.diff(lists.starts)).mean()
    assert expected == pytest.approx(0.5 + 0.5 / 3, abs=0.01)
    flips = [judge(lists, random_scorer(seed), seed).means for seed in range(60)]
    for metric, value in (("p@1", expected), ("p@3", expected), ("auc", 0.5)):
        assert np.mean([means[metric] for means in flips]) == pytest.approx(value, abs=0.01)


def drawn() -> Network:
    """400 users beside the author, of whom every second follows; each retweets 5 to 12 tweets."""
    generator = np.random.default_rng(0)
    retweets: list[Retweet] = []
    for user in range(1, 401):
        chosen = generator.choice(TWEETS, generator.integers(5, 13), replace=False).tolist()
        retweets += [(user, tweet, 10 * tweet + int(generator.integers(1, 30))) for tweet in chosen]
    return network_of(401, range(1, 401, 2), retweets)


def pairs(user_C: Ints, tweet_C: Ints) -> set[tuple[int, int]]:
    return set(zip(user_C.tolist(), tweet_C.tolist(), strict=True))
