import numpy as np
import pytest

from contract.progress import silent
from tests.problems import lists_of, problem_of_matrices
from training.baselines import ease
from training.baselines.settings import BaselineSettings
from training.network import Ints
from training.problem import Bools, Floats, Problem


def network(users: int, tweets: int, seed: int, silent_user: int) -> tuple[Problem, Bools]:
    """Random retweets, with one user and one tweet that have none; every user has all tweets on the list."""
    retweeted_UT = np.random.default_rng(seed).random((users, tweets)) < 0.3
    retweeted_UT[silent_user] = False
    retweeted_UT[:, tweets // 2] = False
    every_UT = np.ones_like(retweeted_UT)
    follows_UU = np.zeros((users, users), dtype=bool)
    return problem_of_matrices(follows_UU, retweeted_UT, every_UT, lists_of(every_UT, retweeted_UT)), retweeted_UT


def textbook(retweeted_UT: Bools, ridge: float) -> Floats:
    x_UT = retweeted_UT.astype(float)
    p_TT = np.linalg.inv(x_UT.T @ x_UT + ridge * np.eye(x_UT.shape[1]))
    b_TT = np.eye(len(p_TT)) - p_TT / np.diag(p_TT)
    assert np.diag(b_TT) == pytest.approx(np.zeros(len(b_TT)))
    score_UT: Floats = x_UT @ b_TT
    return score_UT


def scores(problem: Problem, ridge: float) -> Floats:
    scorer, _ = ease.fit(problem, BaselineSettings(l2=ridge), 0, silent)
    score_C = scorer(problem.test)
    return score_C.reshape(problem.users, problem.tweets)


@pytest.mark.parametrize(("users", "tweets"), [(9, 25), (25, 9), (14, 14)])
@pytest.mark.parametrize("ridge", [0.5, 20.0])
def test_scores_are_those_of_the_textbook_s_item_matrix(users: int, tweets: int, ridge: float) -> None:
    problem, retweeted_UT = network(users, tweets, seed=users, silent_user=3)
    assert scores(problem, ridge) == pytest.approx(textbook(retweeted_UT, ridge), abs=1e-9)


def test_a_list_is_scored_in_its_own_order() -> None:
    problem, retweeted_UT = network(10, 20, seed=0, silent_user=0)
    judged_UT = np.random.default_rng(1).random((10, 20)) < 0.4
    judged_UT[:, 0] = True
    lists = lists_of(judged_UT, retweeted_UT)
    scorer, _ = ease.fit(problem, BaselineSettings(l2=2.0), 0, silent)
    score_C = scorer(lists)
    assert score_C == pytest.approx(textbook(retweeted_UT, 2.0)[lists.user_C, lists.tweet_C], abs=1e-9)


def test_who_retweeted_nothing_gets_zeros() -> None:
    problem, _ = network(9, 25, seed=2, silent_user=8)
    silent_U: Ints = np.array([8])
    assert not scores(problem, 1.0)[silent_U].any()
