"""What the factor models make of a tweet, by hand, and what they regularise.

Shape suffixes: as in training/factors.py.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from contract.progress import silent
from tests.problems import checkerboard, keeping, lists_of
from training.baselines import citing, famf_visual, lightgcn
from training.baselines.citing import WordItems
from training.baselines.famf_visual import ProjectedItems
from training.baselines.rrfm import Boundaries
from training.baselines.settings import BaselineSettings
from training.baselines.vbpr import VisualItems, standard_features
from training.factors import Factors, IdItems, Items
from training.problem import Problem

X_TF = torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]])
PLACES = torch.tensor([2, 0])


def with_weights(module: Any, **weights: list[list[float]]) -> Any:
    """Parameters by name, a dot as two underscores."""
    with torch.no_grad():
        for name, weight in weights.items():
            module.get_parameter(f"{name.replace('__', '.')}.weight").copy_(torch.tensor(weight))
    return module


def of_ids(vector: list[list[float]], bias: list[list[float]]) -> IdItems:
    made: IdItems = with_weights(IdItems(len(vector), len(vector[0]), 1.0), vectors=vector, biases=bias)
    return made


def check(items: Items, v_MD: list[list[float]], b_M: list[float], squares: float) -> None:
    assert items.v_MD.detach().numpy() == pytest.approx(np.array(v_MD), abs=1e-6)
    assert items.b_M.tolist() == pytest.approx(b_M, abs=1e-6)
    assert items.squares.item() == pytest.approx(squares)


def test_famf_has_a_free_vector_and_bias_for_every_tweet() -> None:
    items = of_ids([[1, 2], [9, 9], [3, -1]], [[0.5], [9], [-2]])
    check(items(PLACES), [[3, -1], [1, 2]], [-2, 0.5], 1 + 4 + 9 + 1 + 0.25 + 4)


def test_famf_visual_projects_the_features() -> None:
    """E x of (3, 0.5) and of (1, 2)."""
    items = with_weights(ProjectedItems(X_TF, 2, 1.0), projection=[[1, 2], [-1, 4]])
    check(items(PLACES), [[4, -1], [5, 7]], [0, 0], 1 + 4 + 1 + 16)


def test_vbpr_has_free_and_visual_factors_and_a_bias_of_both_kinds() -> None:
    """Of 3 dimensions 2 are free; E = (2, -1), beta' = (0.5, 3)."""
    items = VisualItems(X_TF, 3, 1.0)
    assert items.visual_bias.weight.tolist() == [[0, 0]]
    with_weights(
        items,
        free__vectors=[[1, 2], [9, 9], [3, -1]],
        free__biases=[[0.5], [9], [-2]],
        projection=[[2, -1]],
        visual_bias=[[0.5, 3]],
    )
    squares = 1 + 4 + 9 + 1 + 0.25 + 4 + 4 + 1 + 0.25 + 9
    check(items(PLACES), [[3, -1, 5.5], [1, 2, 0]], [-2 + 3, 0.5 + 6.5], squares)


def test_citing_adds_up_words_over_the_root_of_the_length() -> None:
    """Words 2, 2, 3 and none, then 4 alone, which is not asked for."""
    token_ids_TW = torch.tensor([[2, 2, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0]])
    items = with_weights(WordItems(token_ids_TW, 5, 2, 1.0), words=[[7, 7], [8, 8], [1, -2], [4, 3], [9, 9]])
    check(items(PLACES), [[0, 0], [6 / 3**0.5, -1 / 3**0.5]], [0, 0], 1 + 4 + 16 + 9)


def test_standard_features_have_mean_0_and_mean_square_norm_1_over_the_tweets_of_training() -> None:
    problem = checkerboard(0, users=10, tweets=60, followees=3, new=True)
    seen, x_TF = problem.seen_in_training, problem.content.x_TF
    assert x_TF is not None
    assert 0 < len(seen) < problem.tweets
    seen_NF = x_TF.double().numpy()[seen]
    std_F = seen_NF.std(axis=0, ddof=1)
    assert std_F.min() > 0.3 * np.median(std_F)
    expected_TF = (x_TF.double().numpy() - seen_NF.mean(axis=0)) / std_F / 6**0.5
    assert standard_features(problem, "vbpr").numpy() == pytest.approx(expected_TF, abs=1e-4)


def test_the_penalty_is_the_squares_of_the_users_and_tweets_of_a_batch_once_each() -> None:
    items = of_ids([[1, 2], [9, 9], [3, -1]], [[0.5], [9], [-2]])
    model = with_weights(Factors(3, 2, 1.0, items, 0.1), users=[[1, 1], [9, 9], [2, -3]])
    pairs = model.pairs(np.array([2, 0, 2]), np.array([0, 0, 2]), np.array([[2, 2], [2, 2], [0, 0]]))
    assert pairs.penalty.item() == pytest.approx(0.1 * (1 + 1 + 4 + 9 + 1 + 4 + 9 + 1 + 0.25 + 4))


def test_rrfm_s_penalty_has_the_boundaries_in_it() -> None:
    items = of_ids([[1, 2], [9, 9], [3, -1]], [[0.5], [9], [-2]])
    model = with_weights(
        Boundaries(3, 2, 1.0, items, 0.1), users=[[1, 1], [9, 9], [2, -3]], boundaries=[[0.5], [9], [-1.5]]
    )
    pairs = model.pairs(np.array([2, 0]), np.array([0, 0]), np.array([[2], [2]]))
    assert pairs.penalty.item() == pytest.approx(0.1 * (15 + 19.25 + 0.25 + 2.25))


def test_lightgcn_s_penalty_is_of_the_free_vectors_not_the_propagated() -> None:
    problem = checkerboard(0, users=12, tweets=30, followees=4)
    model = lightgcn.LightGcn(problem, BaselineSettings(dim=2, l2=0.1))
    free_ND = model.free.detach().double().numpy()
    pairs = model.pairs(np.array([2, 0]), np.array([5, 1]), np.array([[7], [3]]))
    expected = 0.1 * np.square(free_ND[[2, 0, 12 + 5, 12 + 1, 12 + 7, 12 + 3]]).sum()
    assert pairs.penalty.item() == pytest.approx(expected, rel=1e-5)


def with_a_silent_user(user: int) -> Problem:
    """Every tweet is on everyone's list, and one user has no retweet in training."""
    problem = checkerboard(0, users=12, tweets=30, followees=4)
    every_UT = np.ones((problem.users, problem.tweets), dtype=bool)
    return replace(keeping(problem, problem.user_P != user), test=lists_of(every_UT, every_UT))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("baseline", [citing, famf_visual, lightgcn])
def test_a_user_without_retweets_has_the_vector_0(baseline: Any) -> None:
    problem = with_a_silent_user(7)
    scorer, _ = baseline.fit(problem, BaselineSettings(dim=4, epochs=1), 0, silent)
    score_UT = scorer(problem.test).reshape(problem.users, problem.tweets)
    assert np.flatnonzero((score_UT == 0).all(axis=1)).tolist() == [7]
