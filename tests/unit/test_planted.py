"""Networks whose truth is known, which every system has to find."""

from typing import Any

import numpy as np
import pytest
import torch

from contract.link import Link
from contract.progress import silent
from tests.problems import (
    FOLLOWEES,
    LEADERS,
    checkerboard,
    one_true_followee,
    reading,
    with_permuted_content,
    without_content,
)
from training.baselines import adabpr, citing, ease, famf, famf_visual, lightgcn, rrfm, vbpr
from training.baselines.settings import BaselineSettings
from training.evaluate import Scorer, judge, random_scorer
from training.network import Ints
from training.problem import Floats, Problem
from training.settings import Attention, TrainingSettings
from training.train import Fitted, fit

SEEDS = [0, 1, 2]
BASELINES = [famf, famf_visual, vbpr, citing, adabpr, rrfm, lightgcn, ease]
FACTORS = BaselineSettings(dim=8, learning_rate=0.1, l2=1e-4, epochs=12, batch=256)
CLOSED_FORM = BaselineSettings(l2=10.0)
AMNL = TrainingSettings(dim=8, text_dim=8, word_dim=8, epochs=6, batch=256, learning_rate=0.1, l2=1e-5)
SOCIAL = TrainingSettings(dim=16, epochs=30, batch=256, learning_rate=0.1, residual=True)


pytestmark = pytest.mark.usefixtures("one_thread")


def auc(problem: Problem, scorer: Scorer) -> float:
    return judge(problem.test, scorer, 0).means["auc"]


def of_baseline(module: Any, problem: Problem, seed: int) -> float:
    scorer, _ = module.fit(problem, CLOSED_FORM if module is ease else FACTORS, seed, silent)
    return auc(problem, scorer)


def of_amnl(problem: Problem, settings: TrainingSettings) -> float:
    return auc(problem, fit(problem, settings, None, silent).scorer)


def name_of(module: Any) -> str:
    return str(module.__name__).rpartition(".")[2]


def test_the_checkerboard_is_not_solved_by_chance_or_leak() -> None:
    problem = checkerboard(0)
    assert auc(problem, random_scorer(0)) == pytest.approx(0.5, abs=0.1)
    held = set(zip(problem.test.user_C.tolist(), problem.test.tweet_C.tolist(), strict=True))
    assert held.isdisjoint(zip(problem.user_P.tolist(), problem.tweet_P.tolist(), strict=True))
    for user in problem.test.user_L:
        assert np.isin(problem.test.tweet_C[problem.test.user_C == user], problem.unretweeted[user]).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("baseline", BASELINES, ids=name_of)
def test_every_baseline_finds_the_colours(baseline: Any, seed: int) -> None:
    assert of_baseline(baseline, checkerboard(seed), seed) > 0.95


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("link", ["sum", "softplus"])
def test_amnl_finds_the_colours_by_content(link: Link, seed: int) -> None:
    assert of_amnl(checkerboard(seed), AMNL.model_copy(update={"link": link, "seed": seed})) > 0.95


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("link", ["sum", "softplus", "product"])
def test_amnl_finds_the_colours_without_content(link: Link, seed: int) -> None:
    settings = AMNL.model_copy(update={"link": link, "residual": True, "seed": seed})
    assert of_amnl(without_content(checkerboard(seed)), settings) > 0.95


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("baseline", [famf_visual, vbpr, citing], ids=name_of)
def test_a_baseline_that_reads_ranks_new_tweets_by_their_own_content_alone(baseline: Any, seed: int) -> None:
    problem = checkerboard(seed, tweets=120, new=True)
    read = of_baseline(baseline, problem, seed)
    assert read > 0.95
    assert of_baseline(baseline, with_permuted_content(problem, seed), seed) < read - 0.2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("reads", ["both", "pictures", "words"])
def test_amnl_ranks_new_tweets_by_their_own_content_alone(reads: str, seed: int) -> None:
    problem = reading(checkerboard(seed, tweets=120, new=True), reads)
    settings = AMNL.model_copy(update={"seed": seed})
    read = of_amnl(problem, settings)
    assert read > 0.95
    assert of_amnl(with_permuted_content(problem, seed), settings) < read - 0.2


@pytest.mark.parametrize("baseline", [famf_visual, citing], ids=name_of)
def test_permuted_content_costs_on_known_tweets_where_nothing_else_tells_them_apart(baseline: Any) -> None:
    problem = checkerboard(0)
    assert of_baseline(baseline, with_permuted_content(problem, 0), 0) < of_baseline(baseline, problem, 0) - 0.15


@pytest.mark.parametrize("seed", SEEDS)
def test_learned_attention_finds_the_one_followee_who_counts(seed: int) -> None:
    problem, true_F = one_true_followee(seed)
    fitted: dict[Attention, Fitted] = {}
    forms: list[Attention] = ["mean", "paper", "similar"]
    for form in forms:
        settings = SOCIAL.model_copy(update={"attention": form, "seed": seed})
        fitted[form] = fit(problem, settings, None, silent)
    of_mean = auc(problem, fitted["mean"].scorer)
    for form, least in (("paper", 0.5), ("similar", 0.7)):
        of_true_F, highest_F = attention(fitted[form], problem, true_F)
        assert (of_true_F == highest_F).mean() > least
        assert of_true_F.mean() > 1.4 / FOLLOWEES
        assert auc(problem, fitted[form].scorer) > of_mean + 0.02
    of_true_F, _ = attention(fitted["mean"], problem, true_F)
    assert of_true_F == pytest.approx(np.full(len(true_F), 1 / FOLLOWEES))


@torch.inference_mode()
def attention(fitted: Fitted, problem: Problem, true_F: Ints) -> tuple[Floats, Floats]:
    """The share of every follower's true followee, and the highest share, as the service computes them."""
    u_UD = fitted.model.user_vectors.weight
    followees_FN = problem.followees.values.reshape(len(true_F), FOLLOWEES)
    mask_FN = torch.ones(followees_FN.shape, dtype=torch.bool)
    _, share_FN = fitted.model.ranker.followee_mean(u_UD[LEADERS:], u_UD[torch.from_numpy(followees_FN)], mask_FN)
    of_true_F = share_FN.numpy()[followees_FN == true_F[:, None]]
    return of_true_F, share_FN.numpy().max(axis=1)
