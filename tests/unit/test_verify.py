"""What the trainer takes for the same answer from torch and from ONNX Runtime."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from contract.runtime import Products, Ranking
from training.errors import ParityFailed
from training.export import RankerGraph
from training.model import Ranker
from training.verify import RANKER_TOLERANCE, _check, _ranker_differences

DIM = 400


class Float64:
    """Ranks with more digits than either; `wrong` is added to every score, as a share of the largest."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.wrong = wrong

    def rank(
        self, user_D: npt.NDArray[np.float16] | None, followees_ND: npt.NDArray[np.float16], products: Products
    ) -> Ranking:
        u_D = np.zeros(DIM) if user_D is None else user_D.astype(np.float64)
        ubar_D = followees_ND.astype(np.float64).mean(axis=0) if len(followees_ND) else np.zeros(DIM)
        f_C, h_C = products(np.stack([u_D, ubar_D]))
        score_C = (f_C + h_C).astype(np.float32)
        score_C += self.wrong * np.abs(score_C).max(initial=0.0)
        attention_N = np.full(len(followees_ND), 1 / max(1, len(followees_ND)), dtype=np.float32)
        return Ranking(score_C, f_C.astype(np.float32), h_C.astype(np.float32), attention_N)


@pytest.fixture
def exported() -> Any:
    """A user and followees who are indifferent to the first candidate: its products are the rest of a cancellation."""
    first_D = np.random.default_rng(2).uniform(-1.7, 1.7, (33, DIM))[0]
    users_UD = np.random.default_rng(0).normal(0, 0.5, (8, DIM))
    users_UD -= np.outer(users_UD @ first_D / (first_D @ first_D), first_D)
    return SimpleNamespace(user_vectors_UD=users_UD.astype(np.float16))


def differences(exported: Any, model: Float64) -> list[float]:
    ranker = RankerGraph(Ranker(DIM, "sum", "mean", 1.0)).eval()
    return _ranker_differences(exported, model, ranker)  # type: ignore[arg-type]  # it ranks alike


def test_a_candidate_that_a_user_is_indifferent_to_is_no_difference(exported: Any) -> None:
    assert max(differences(exported, Float64())) < RANKER_TOLERANCE / 5


@pytest.mark.parametrize("wrong", [1e-4, np.nan])
def test_a_wrong_score_is_a_difference(exported: Any, wrong: float) -> None:
    _check(Path("ranker.onnx"), differences(exported, Float64()), RANKER_TOLERANCE)
    with pytest.raises(ParityFailed, match="differs from torch"):
        _check(Path("ranker.onnx"), differences(exported, Float64(wrong)), RANKER_TOLERANCE)
