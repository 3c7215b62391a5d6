import numpy as np
import pytest
import torch
from torch import Tensor

from tests.problems import lists_of, problem_of_matrices
from training.baselines.lightgcn import LAYERS, LightGcn, normalised_graph
from training.baselines.settings import BaselineSettings
from training.problem import Bools, Problem


def of(retweeted_UT: Bools) -> Problem:
    users = len(retweeted_UT)
    every_UT = np.ones_like(retweeted_UT)
    return problem_of_matrices(
        np.zeros((users, users), dtype=bool), retweeted_UT, every_UT, lists_of(every_UT, retweeted_UT)
    )


def three_retweets() -> Problem:
    """Users a, b; tweets s, t, and one that nobody retweeted: a-s, b-s, b-t."""
    return of(np.array([[True, False, False], [True, True, False]]))


def random_network(seed: int) -> Problem:
    return of(np.random.default_rng(seed).random((12, 20)) < 0.2)


@pytest.mark.parametrize("seed", range(5))
def test_the_graph_is_symmetric_and_does_not_amplify(seed: int) -> None:
    graph_NN = normalised_graph(random_network(seed)).to_dense().double()
    assert torch.equal(graph_NN, graph_NN.T)
    eigenvalue_N = torch.linalg.eigvalsh(graph_NN)
    assert eigenvalue_N.abs().max() == pytest.approx(1, abs=1e-6)


def test_an_edge_weighs_one_over_the_root_of_both_degrees() -> None:
    weight = {("a", "s"): 1 / 2**0.5, ("b", "s"): 1 / 2, ("b", "t"): 1 / 2**0.5}
    expected_NN = torch.zeros(5, 5)
    for (user, tweet), value in weight.items():
        one, other = "abst".index(user), "abst".index(tweet)
        expected_NN[one, other] = expected_NN[other, one] = value
    assert torch.allclose(normalised_graph(three_retweets()).to_dense(), expected_NN)


def propagated(vector_N: list[float]) -> Tensor:
    model = LightGcn(three_retweets(), BaselineSettings(dim=1))
    with torch.no_grad():
        model.free.copy_(torch.tensor(vector_N)[:, None])
        return model.propagated()[:, 0]


def test_two_layers_give_the_mean_worked_out_by_hand() -> None:
    root = 2**0.5
    assert LAYERS == 2
    of_a = torch.tensor([1 + 1 / 2, root / 4, 1 / root, 0, 0]) / 3
    assert torch.allclose(propagated([1, 0, 0, 0, 0]), of_a)
    of_t = torch.tensor([0, 1 / root, root / 4, 1 + 1 / 2, 0]) / 3
    assert torch.allclose(propagated([0, 0, 0, 1, 0]), of_t)


def test_a_tweet_without_retweets_keeps_a_third_of_its_vector() -> None:
    assert torch.allclose(propagated([0, 0, 0, 0, 6]), torch.tensor([0, 0, 0, 0, 2.0]))


def test_training_and_judging_score_by_the_propagated_vectors() -> None:
    problem = random_network(0)
    model = LightGcn(problem, BaselineSettings(dim=4))
    vectors_ND = model.propagated().detach()
    expected_UT = (vectors_ND[: problem.users] @ vectors_ND[problem.users :].T).numpy()
    assert model.scorer()(problem.test) == pytest.approx(expected_UT.ravel(), abs=1e-6)
    user_B, positive_B, negative_BK = np.array([3, 7]), np.array([1, 0]), np.array([[2, 3], [19, 4]])
    pairs = model.pairs(user_B, positive_B, negative_BK)
    assert pairs.positive_B.detach().numpy() == pytest.approx(expected_UT[user_B, positive_B], abs=1e-6)
    assert pairs.negative_BK.detach().numpy() == pytest.approx(expected_UT[user_B[:, None], negative_BK], abs=1e-6)
