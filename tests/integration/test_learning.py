"""The trained model ranks held-out retweets well, and uses picture, words and follows to do so."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contract.blobs import BlobStore
from contract.preprocessing import Preprocessing
from contract.progress import silent
from tests.conftest import fresh_stores, import_into
from training.backbones import load_backbone
from training.features import image_features
from training.network import exposures, split_by_time
from training.placebos import permuted_pictures, permuted_words, rewired_follows
from training.problem import Problem, content_of, problem_of
from training.retrain import Metrics, judge_all, read_network
from training.settings import TrainingSettings
from training.train import fit

SEEDS = (0, 1, 2)
EPOCHS = 6


@pytest.fixture(scope="module")
def problem(default_network: Path) -> Problem:
    """The default made network, from real pictures in a real database."""
    with fresh_stores("embedded") as stores:
        import_into(stores, default_network)
        network = asyncio.run(read_network(stores))
        settings = TrainingSettings()
        split = split_by_time(network, settings.test_share, settings.validation_share)
        backbone = load_backbone(settings.backbone, None)
        blobs = BlobStore(stores.image_store_url)
        x_TF = image_features(network.image_keys, blobs, backbone, stores.var_dir / "features", silent)
        content, _ = content_of(network, x_TF, split.test_from, Preprocessing(image_size=backbone.image_size))
        return problem_of(network, exposures(network), split, content)


def train_and_judge(problem: Problem, seed: int) -> Metrics:
    settings = TrainingSettings(seed=seed, epochs=EPOCHS)
    fitted = fit(problem, settings, None, silent)
    return judge_all(fitted, problem, seed)


def mean(results: list[Metrics], system: str, metric: str) -> float:
    return float(np.mean([result[system][metric] for result in results]))


@pytest.fixture(scope="module")
def results(problem: Problem) -> list[Metrics]:
    return [train_and_judge(problem, seed) for seed in SEEDS]


@pytest.mark.parametrize("metric", ["p@1", "p@3", "auc"])
def test_the_model_beats_popularity_and_chance(results: list[Metrics], metric: str) -> None:
    for floor in ("popularity", "random"):
        assert mean(results, "amnl", metric) > mean(results, floor, metric) + 0.15, results
        assert all(result["amnl"][metric] > result[floor][metric] + 0.1 for result in results), results


@pytest.mark.parametrize(
    ("placebo", "least"), [(permuted_pictures, 0.07), (permuted_words, 0.03), (rewired_follows, 0.01)]
)
def test_mixing_what_the_model_uses_makes_it_worse(
    problem: Problem, results: list[Metrics], placebo: Callable[[Problem, int], Problem], least: float
) -> None:
    mixed = [train_and_judge(placebo(problem, seed), seed) for seed in SEEDS]
    cost = mean(results, "amnl", "auc") - mean(mixed, "amnl", "auc")
    print(f"AUC {mean(results, 'amnl', 'auc'):.3f}, {placebo.__name__} {mean(mixed, 'amnl', 'auc'):.3f}")  # noqa: T201
    assert cost > least, (cost, mixed)
