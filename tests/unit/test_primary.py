"""The primary protocol on a network made by hand: what the network shows, three periods, who is trained.

User 0 posts tweet t at 10 t. READER follows AUTHOR and FRIEND, FRIEND and LONER follow nobody.
"""

import numpy as np
import pytest

from contract.progress import silent
from tests.problems import problem_of_matrices
from training.evaluate import judge
from training.made import in_network
from training.network import Exposures, Network, Split, exposures, group
from training.problem import CandidateLists, Content, Problem, problem_of
from training.sampling import triple_sampler
from training.settings import Negatives, TrainingSettings
from training.train import fit

AUTHOR, READER, FRIEND, LONER = range(4)
TWEETS = 30
VALIDATION_FROM, TEST_FROM = 100, 200
Retweet = tuple[int, int, int]
"""User, tweet, time."""


def network_of(retweets: list[Retweet]) -> Network:
    user_R, tweet_R, at_R = np.array(sorted(retweets, key=lambda retweet: retweet[2])).T
    return Network(
        user_ids=["author", "reader", "friend", "loner"],
        tweet_ids=[f"t{tweet:02}" for tweet in range(TWEETS)],
        texts=[""] * TWEETS,
        image_keys=[""] * TWEETS,
        author_T=np.zeros(TWEETS, dtype=np.int64),
        posted_T=10 * np.arange(TWEETS),
        followees=group(np.array([READER, READER]), np.array([AUTHOR, FRIEND]), 4),
        retweet_user_R=user_R,
        retweet_tweet_R=tweet_R,
        retweet_at_R=at_R,
    )


RETWEETS = [
    *((READER, tweet, 10 * tweet + 5) for tweet in (0, 4, 8, 12, 16, 20, 24)),
    *((LONER, tweet, 10 * tweet + 6) for tweet in (1, 2, 3)),
    (READER, 2, 207),
    (READER, 9, 107),
]


def problem() -> Problem:
    network = network_of(RETWEETS)
    return problem_of(network, exposures(network), Split(VALIDATION_FROM, TEST_FROM), Content(None, None, 0))


def listed(lists: CandidateLists) -> dict[int, dict[int, bool]]:
    """Whether each tweet of a list is positive, by user."""
    found: dict[int, dict[int, bool]] = {}
    for user, tweet, positive in zip(
        lists.user_C.tolist(), lists.tweet_C.tolist(), lists.positive_C.tolist(), strict=True
    ):
        found.setdefault(user, {})[tweet] = positive
    return found


def pairs(exposed: Exposures) -> dict[tuple[int, int], int]:
    return dict(
        zip(zip(exposed.user_X.tolist(), exposed.tweet_X.tolist(), strict=True), exposed.at_X.tolist(), strict=True)
    )


def test_a_followee_s_post_and_retweet_show_a_tweet_the_first_of_them_counts() -> None:
    shown = pairs(exposures(network_of([*RETWEETS, (FRIEND, 5, 57)])))
    assert shown == {(READER, tweet): 10 * tweet for tweet in range(TWEETS)}


def test_what_a_user_retweeted_before_a_followee_did_was_not_shown_by_the_network() -> None:
    """READER finds LONER's tweet elsewhere, FRIEND takes it from READER; of the other one FRIEND is first."""
    network = network_of([(READER, 1, 11), (FRIEND, 1, 12), (FRIEND, 2, 21), (READER, 2, 22), *RETWEETS[:7]])
    by_loner = network.author_T.copy()
    by_loner[[1, 2]] = LONER
    shown = pairs(exposures(Network(**{**vars(network), "author_T": by_loner})))
    assert (READER, 1) not in shown
    assert shown[READER, 2] == 21


def test_a_logged_showing_counts_from_when_a_followee_had_the_tweet() -> None:
    network = network_of(RETWEETS)
    user_X, tweet_X = np.array([READER, READER, READER, READER, LONER]), np.array([3, 4, 5, 6, 7])
    logged = Exposures(user_X, tweet_X, np.array([29, 40, 58, 61, 77]))
    assert pairs(in_network(network, logged)) == {(READER, 4): 40, (READER, 5): 58, (READER, 6): 61}


def test_periods_are_cut_at_the_same_moments_for_all() -> None:
    made = problem()
    trained = set(zip(made.user_P.tolist(), made.tweet_P.tolist(), strict=True))
    assert trained == {(READER, 0), (READER, 4), (READER, 8), (LONER, 1), (LONER, 2), (LONER, 3)}
    assert listed(made.validation) == {READER: {tweet: tweet in (12, 16) for tweet in range(10, 20)}}
    assert listed(made.test) == {READER: {tweet: tweet in (20, 24) for tweet in range(20, 25)}}


def test_what_is_retweeted_only_later_is_passed_by_in_training() -> None:
    assert set(problem().unretweeted[READER].tolist()) == set(range(10)) - {0, 4, 8}


def test_negatives_of_any_tweet_are_of_those_that_there_were() -> None:
    made = problem()
    assert made.existing.tolist() == list(range(10))
    drawn = np.concatenate(
        [
            negative_BK.ravel()
            for epoch in range(40)
            for _, _, negative_BK in triple_sampler(made, "uniform").batches(9, 4, 0, epoch)
        ]
    )
    assert set(drawn.tolist()) == set(range(10))


@pytest.mark.parametrize(("sampling", "trained"), [("followees", {0, 1, 2}), ("matched", {0, 1, 2, 3})])
def test_a_vector_that_no_sample_touches_is_not_trained(sampling: Negatives, trained: set[int]) -> None:
    settings = TrainingSettings(sampling=sampling, epochs=1, dim=4, residual=True)
    assert set(fit(problem(), settings, None, silent).users.tolist()) == trained


def test_who_has_no_vector_and_no_followees_has_no_order() -> None:
    """The personal and the social facet drop out: all scores are the same."""
    follows_UU, retweeted_UT = np.zeros((3, 3), dtype=bool), np.zeros((3, 8), dtype=bool)
    retweeted_UT[0, :3] = retweeted_UT[1, 3:] = True
    shown_UT = np.ones((3, 8), dtype=bool)
    lists = CandidateLists(np.array([0, 2]), np.array([0, 8, 16]), np.tile(np.arange(8), 2), np.tile([True, False], 8))
    small = problem_of_matrices(follows_UU, retweeted_UT, shown_UT, lists)
    fitted = fit(small, TrainingSettings(epochs=2, dim=4, residual=True), None, silent)
    score_C = fitted.scorer(lists)
    assert set(fitted.users.tolist()) == {0, 1}
    assert len(set(score_C[:8].tolist())) > 1
    assert score_C[8:].tolist() == [0.0] * 8
    assert np.isfinite(judge(lists, fitted.scorer, 0).means["auc"])
