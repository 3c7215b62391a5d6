"""What AMNL is trained by is what it is judged and served by, and its penalty is beta |Psi|^2 of what a batch touched.

Shape suffixes: as in training/train.py.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from contract.link import Link
from tests.problems import lists_of, problem_of_matrices
from training.model import Amnl
from training.problem import Content, Floats, Problem
from training.settings import Attention, TrainingSettings
from training.train import Trainee

USERS, TWEETS = 6, 5
FOLLOWS = {0: [1, 2, 3], 1: [0], 3: [0, 1], 4: [0, 1, 5]}
RETWEETED = {0: [0, 1], 1: [2], 3: [1]}
TRAINED = [0, 1, 2, 3]
"""Who retweeted and whom they follow: user 4 has two followees who count and one who does not, user 5 nobody."""
IDS_TSW = np.array(
    [[[1, 2, 3], [4, 0, 0]], [[5, 0, 0], [0, 0, 0]], [[2, 2, 0], [1, 0, 0]], [[3, 0, 0], [0, 0, 0]], np.zeros((2, 3))],
    dtype=np.int64,
)
"""The last tweet has no text."""
TRIPLES = np.array([0, 1, 0]), np.array([0, 2, 1]), np.array([[2, 3], [3, 3], [3, 2]])


def matrix(of: dict[int, list[int]], columns: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    made = np.zeros((USERS, columns), dtype=bool)
    for row, values in of.items():
        made[row, values] = True
    return made


def everything_judged() -> Problem:
    """Every user has a list of all tweets."""
    x_TF = torch.randn(TWEETS, 4, generator=torch.Generator().manual_seed(0))
    every_UT, retweeted_UT = np.ones((USERS, TWEETS), dtype=bool), matrix(RETWEETED, TWEETS)
    lists = lists_of(every_UT, retweeted_UT)
    return problem_of_matrices(
        matrix(FOLLOWS, USERS), retweeted_UT, every_UT, lists, content=Content.of(x_TF, IDS_TSW, 7)
    )


def trainee(attention: Attention = "mean", link: Link = "sum", free: bool = False) -> Trainee:
    """With parameters so large that each tells; `free` with tweets' own vectors and biases."""
    settings = TrainingSettings(
        dim=3,
        text_dim=4,
        word_dim=2,
        init_std=0.8,
        l2=0.01,
        attention=attention,
        link=link,
        residual=free,
        item_bias=free,
    )
    problem = everything_judged()
    torch.manual_seed(0)
    model = Amnl(problem, settings)
    if model.item_bias is not None:
        torch.nn.init.normal_(model.item_bias.weight)
    return Trainee(model, problem, settings, np.array(TRAINED)).eval()


def z(made: Trainee) -> Tensor:
    """Of all tweets by their content, float32 [T, D]."""
    content = made.problem.content
    z_TD: Tensor = made.model.encoder(content.x_TF, content.token_ids_TSW)
    return z_TD


def scores(made: Trainee) -> Floats:
    """Float32 [U, T]."""
    return made.score(made.problem.test).reshape(USERS, TWEETS)


def served(made: Trainee, user: int) -> Floats:
    """What the service makes of the vectors that were trained, float32 [T]."""
    u_UD, known = made.model.user_vectors.weight, user in TRAINED
    followees = [followee for followee in FOLLOWS.get(user, []) if followee in TRAINED]
    u_D = u_UD[user] if known else torch.zeros(3)
    mask_1N = torch.ones(1, len(followees), dtype=torch.bool)
    followees_ND = u_UD[torch.tensor(followees, dtype=torch.int64)]
    ranked = made.model.ranker(u_D[None], torch.tensor([known]), followees_ND[None], mask_1N, z(made)[None])
    return np.asarray(ranked.score_BC[0].numpy())


@torch.no_grad()
@pytest.mark.parametrize("link", ["product", "sum"])
@pytest.mark.parametrize("attention", ["paper", "similar", "mean"])
def test_everyone_is_judged_by_the_scores_that_the_service_gives(attention: Attention, link: Link) -> None:
    made = trainee(attention, link)
    expected_UT = np.stack([served(made, user) for user in range(USERS)])
    assert scores(made) == pytest.approx(expected_UT, abs=1e-5)
    assert scores(made)[5].tolist() == [1.0 if link == "product" else 0.0] * TWEETS


@torch.no_grad()
def test_a_tweet_s_own_vector_is_a_part_of_z_and_its_own_bias_of_the_score() -> None:
    made = trainee(free=True)
    assert made.model.residual is not None
    assert made.model.item_bias is not None
    u_UD, z_TD = made.model.user_vectors.weight.numpy(), (z(made) + made.model.residual.weight).numpy()
    facets_UD = np.stack([u_UD[0] + u_UD[1:4].mean(axis=0), u_UD[1] + u_UD[0], u_UD[2]])
    expected_UT = facets_UD @ z_TD.T + made.model.item_bias.weight.numpy().T
    assert scores(made)[:3] == pytest.approx(expected_UT, abs=1e-5)


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("attention", ["paper", "similar", "mean"])
def test_training_scores_as_judging_does(attention: Attention, free: bool) -> None:
    made = trainee(attention, free=free)
    user_B, positive_B, negative_BK = TRIPLES
    pairs, score_UT = made.pairs(*TRIPLES), scores(made)
    assert pairs.positive_B.detach().numpy() == pytest.approx(score_UT[user_B, positive_B], abs=1e-5)
    assert pairs.negative_BK.detach().numpy() == pytest.approx(score_UT[user_B[:, None], negative_BK], abs=1e-5)


def test_the_penalty_is_the_squares_of_all_that_the_batch_touched_once() -> None:
    """Users 0 and 1 and their followees 2 and 3; tweets 0 to 3 and their words 1 to 5; all dense weights."""
    made = trainee("paper", free=True)
    weight = {name: value.double().numpy() for name, value in made.model.state_dict().items()}
    touched = [
        weight["user_vectors.weight"][:4],
        weight["encoder.word_vectors.weight"][1:6],
        weight["residual.weight"][:4],
        weight["item_bias.weight"][:4],
        *(weight[f"encoder.{name}_to_z.weight"] for name in ("image", "text")),
        *(weight[f"encoder.lstm.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        *(weight[f"ranker.attention.{name}.weight"] for name in ("user_projection", "followee_projection", "score")),
        weight["ranker.attention.user_projection.bias"],
    ]
    expected = 0.01 * sum(np.square(value).sum() for value in touched)
    assert made.pairs(*TRIPLES).penalty.item() == pytest.approx(expected, rel=1e-5)
