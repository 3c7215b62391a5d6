"""Placebos change what the model reads, and nothing of what it is judged by."""

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from contract.progress import silent
from tests.problems import checkerboard, without_content
from training.errors import NotForThisNetwork
from training.network import Grouped, Ints, group
from training.placebos import permuted_pictures, permuted_words, rewired, rewired_follows
from training.problem import Bools, Problem
from training.systems import AMNL_FAMILY, PLACEBOS, SYSTEMS, tuned


def random_follows(seed: int, users: int = 200, share: float = 0.05) -> Grouped:
    """Some follow many and some are followed by many; nobody follows themselves."""
    generator = np.random.default_rng(seed)
    weight_U = generator.random(users) ** 3
    follows_UU = generator.random((users, users)) < share * 16 * weight_U[:, None] * weight_U
    return without_loops(follows_UU)


def without_loops(follows_UU: Bools) -> Grouped:
    follower_E, followee_E = np.nonzero(follows_UU & ~np.eye(len(follows_UU), dtype=bool))
    return group(follower_E, followee_E, len(follows_UU))


def edges(followees: Grouped) -> Ints:
    """follower x users + followee, [E]."""
    return np.repeat(np.arange(len(followees)), followees.counts) * len(followees) + followees.values


def followers(followees: Grouped) -> Ints:
    return np.bincount(followees.values, minlength=len(followees))


@pytest.mark.parametrize("seed", range(5))
def test_rewiring_keeps_who_follows_how_many_and_who_is_followed_by_how_many(seed: int) -> None:
    before = random_follows(seed)
    after = rewired(before, seed)
    assert after.counts.tolist() == before.counts.tolist()
    assert followers(after).tolist() == followers(before).tolist()
    edge_E = edges(after)
    assert len(np.unique(edge_E)) == len(edge_E) > 500
    assert (edge_E // 200 != edge_E % 200).all()


@pytest.mark.parametrize("seed", range(5))
def test_rewiring_leaves_no_more_edges_than_chance(seed: int) -> None:
    before = random_follows(seed)
    edge_E = edges(before)
    others = [edges(rewired(before, 100 + other)) for other in range(8)]
    by_chance = np.mean([np.isin(a, b).sum() for a, b in pairwise(others)])
    kept = np.mean([np.isin(edge_E, other).sum() for other in others])
    assert kept < 1.2 * by_chance
    assert kept < len(edge_E) / 2


def test_the_seed_says_all_of_a_rewiring() -> None:
    before = random_follows(0)
    assert edges(rewired(before, 3)).tolist() == edges(rewired(before, 3)).tolist()
    assert edges(rewired(before, 3)).tolist() != edges(rewired(before, 4)).tolist()


@pytest.mark.parametrize("full", [False, True])
def test_what_cannot_be_rewired_stays_as_it_is(full: bool) -> None:
    before = without_loops(np.full((12, 12), full))
    assert edges(rewired(before, 0)).tolist() == edges(before).tolist()


@pytest.mark.parametrize(
    ("placebo", "changed"),
    [(permuted_pictures, "content"), (permuted_words, "content"), (rewired_follows, "followees")],
)
def test_only_what_the_model_reads_is_mixed(placebo: Callable[[Problem, int], Problem], changed: str) -> None:
    problem = checkerboard(0)
    mixed = placebo(problem, 0)
    others = [one.name for one in fields(Problem) if getattr(mixed, one.name) is not getattr(problem, one.name)]
    assert others == [changed]


def rows(values: torch.Tensor | None) -> list[list[float]]:
    assert values is not None
    return values.flatten(start_dim=1).tolist()


def test_pictures_and_words_are_permuted_apart() -> None:
    problem = checkerboard(0)
    before = problem.content
    pictures, words = permuted_pictures(problem, 1).content, permuted_words(problem, 1).content
    assert rows(pictures.x_TF) != rows(before.x_TF)
    assert sorted(rows(pictures.x_TF)) == sorted(rows(before.x_TF))
    assert pictures.token_ids_TSW is before.token_ids_TSW
    assert rows(words.token_ids_TSW) != rows(before.token_ids_TSW)
    assert sorted(rows(words.token_ids_TSW)) == sorted(rows(before.token_ids_TSW))
    assert words.x_TF is before.x_TF
    assert rows(permuted_pictures(problem, 2).content.x_TF) != rows(pictures.x_TF)


def test_features_of_text_are_words_and_no_pictures() -> None:
    problem = checkerboard(0)
    problem = replace(problem, content=replace(problem.content, x_is_text=True))
    words = permuted_words(problem, 1).content
    order = [rows(problem.content.x_TF).index(row) for row in rows(words.x_TF)]
    assert sorted(order) == list(range(problem.tweets)) != order
    assert problem.content.token_ids_TSW is not None
    assert rows(words.token_ids_TSW) == rows(problem.content.token_ids_TSW[order])
    with pytest.raises(NotForThisNetwork, match="pictures"):
        permuted_pictures(problem, 1)


@pytest.mark.parametrize("placebo", [permuted_pictures, permuted_words])
def test_there_must_be_something_to_permute(placebo: Callable[[Problem, int], Problem]) -> None:
    with pytest.raises(NotForThisNetwork):
        placebo(without_content(checkerboard(0)), 0)


@pytest.mark.parametrize("network", ["made", "lastfm", "flickr"])
def test_placebos_have_the_settings_of_amnl(network: str) -> None:
    for name in PLACEBOS:
        assert tuned(network, name) == tuned(network, "amnl") != {}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("name", "placebo"),
    [
        ("permuted pictures", permuted_pictures),
        ("permuted words", permuted_words),
        ("rewired follows", rewired_follows),
    ],
)
def test_a_placebo_is_amnl_on_a_mixed_network(name: str, placebo: Callable[[Problem, int], Problem]) -> None:
    problem, settings = checkerboard(0), {"dim": 8, "text_dim": 8, "word_dim": 8, "epochs": 1}
    scores_C = SYSTEMS[name](problem, settings, 5, silent).scorer(problem.test)
    of_amnl_C = AMNL_FAMILY["amnl"](placebo(problem, 5), settings, 5, silent).scorer(problem.test)
    assert scores_C.tolist() == of_amnl_C.tolist()
    assert scores_C.tolist() != AMNL_FAMILY["amnl"](problem, settings, 5, silent).scorer(problem.test).tolist()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["pictures permuted in test", "words permuted in test", "follows rewired in test"])
def test_mixed_in_the_test_alone_the_training_is_amnl_s(name: str) -> None:
    problem, settings = checkerboard(0), {"dim": 8, "text_dim": 8, "word_dim": 8, "epochs": 1}
    amnl, mixed = (SYSTEMS[system](problem, settings, 5, silent) for system in ("amnl", name))
    auc_of = [[epoch["auc"] for epoch in trained.curve] for trained in (amnl, mixed)]
    assert auc_of[0] == auc_of[1] != []
    assert amnl.scorer(problem.test).tolist() != mixed.scorer(problem.test).tolist()


@pytest.mark.usefixtures("one_thread")
def test_whose_vector_was_trained_stays_when_follows_are_rewired_in_the_test() -> None:
    problem, settings = checkerboard(0), {"dim": 8, "text_dim": 8, "word_dim": 8, "epochs": 1}
    amnl = AMNL_FAMILY["amnl"](problem, settings, 5, silent)
    assert amnl.scorer_on is not None
    nobody = group(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), problem.users)
    of_one_retweet = replace(problem, user_P=problem.user_P[:1], followees=nobody)
    expected_C = amnl.scorer_on(replace(problem, followees=nobody))(problem.test)
    assert amnl.scorer_on(of_one_retweet)(problem.test).tolist() == expected_C.tolist()


def test_where_amnl_reads_text_alone_there_is_no_amnl_d() -> None:
    problem = checkerboard(0)
    no_pictures = replace(problem, content=replace(problem.content, x_is_text=True))
    with pytest.raises(NotForThisNetwork, match="no pictures to leave out"):
        AMNL_FAMILY["amnl_d"](no_pictures, {"dim": 8, "epochs": 1}, 0, silent)
