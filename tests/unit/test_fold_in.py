"""A vector for a user whom the model was not trained on: torch, ONNX, and what it is fitted to."""

import itertools
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from contract.artifact import FOLD_IN_INPUTS
from contract.link import Link
from training.export import export_fold_in
from training.fold_in import DRAWS, RATE, STEPS, FoldIn
from training.model import Ranker
from training.settings import Attention, Loss, TrainingSettings

DIM, NEGATIVES = 6, 3
FORMS: list[tuple[Link, Attention, Loss]] = [
    ("sum", "mean", "softmax"),
    ("product", "paper", "hinge"),
    ("softplus", "similar", "bpr"),
    ("social", "mean", "softmax"),
]

pytestmark = pytest.mark.usefixtures("one_thread")


def fold_in_of(link: Link, attention: Attention, loss: Loss, spread: float = 1.0) -> FoldIn:
    """Of a model whose users' vectors have this root mean square."""
    torch.manual_seed(0)
    settings = TrainingSettings(link=link, attention=attention, loss=loss, dim=DIM, negatives=NEGATIVES)
    return FoldIn(Ranker(DIM, link, attention, 2.0), settings, torch.full((50, DIM), spread))


def vectors(followees: int, retweets: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random ones, fp16; the last dimension is 0 in all, so that u has no gradient there."""
    generator = torch.Generator().manual_seed(followees * 100 + retweets)
    shapes = ((followees,), (retweets,), (retweets, DRAWS, NEGATIVES))
    made = [torch.randn((*shape, DIM), generator=generator).half() for shape in shapes]
    for tensor in made:
        tensor[..., -1] = 0
    return made[0], made[1], made[2]


def by_autograd(fold_in: FoldIn, followees_ND: Tensor, positive_PD: Tensor, negative_PSKD: Tensor) -> Tensor:
    """The same by torch's own Adagrad and backward()."""
    positive_PSCD = positive_PD[:, None, None].expand(-1, DRAWS, 1, -1)
    z_PSCD = torch.cat([positive_PSCD, negative_PSKD], dim=2).float()
    u_D = torch.zeros(DIM, requires_grad=True)
    optimizer = torch.optim.Adagrad([u_D], lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        fold_in.objective(u_D, followees_ND.float(), z_PSCD).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return u_D.detach()


@pytest.mark.parametrize(("link", "attention", "loss"), FORMS)
def test_the_onnx_graph_is_torchs_own_adagrad_for_any_number_of_followees_and_retweets(
    link: Link, attention: Attention, loss: Loss, tmp_path: Path
) -> None:
    fold_in = fold_in_of(link, attention, loss)
    export_fold_in(fold_in, tmp_path / "fold_in.onnx", DIM, NEGATIVES)
    session = onnxruntime.InferenceSession(tmp_path / "fold_in.onnx")
    for followees, retweets in itertools.product((0, 1, 7), (1, 2, 40)):
        inputs = vectors(followees, retweets)
        feeds = {name: value.numpy() for name, value in zip(FOLD_IN_INPUTS, inputs, strict=True)}
        (served_D,) = session.run(None, feeds)
        expected_D = by_autograd(fold_in, *inputs).numpy()
        assert served_D == pytest.approx(expected_D, abs=1e-5)
        assert fold_in(*inputs).numpy() == pytest.approx(expected_D, abs=1e-5)
        assert expected_D[-1] == 0 or attention == "paper"
        assert np.abs(expected_D).max() > 0.01 or link == "social"


@pytest.mark.parametrize(
    ("link", "loss", "followees"),
    [
        ("sum", "softmax", 0),
        ("sum", "softmax", 5),
        ("softplus", "bpr", 0),
        ("softplus", "bpr", 5),
        ("product", "hinge", 0),
    ],
)
def test_a_planted_taste_is_recovered(link: Link, loss: Loss, followees: int) -> None:
    generator = np.random.default_rng(1)
    taste_D = generator.normal(size=DIM)
    tweets_TD = generator.normal(size=(400, DIM))
    liked_T = np.argsort(-(tweets_TD @ taste_D))
    retweets_PD, others_OD = tweets_TD[liked_T[:30]], tweets_TD[liked_T[30:]]
    negative_PSKD = others_OD[generator.integers(len(others_OD), size=(30, DRAWS, NEGATIVES))]
    followees_ND = 0.1 * generator.normal(size=(followees, DIM))
    inputs = [torch.from_numpy(z).half() for z in (followees_ND, retweets_PD, negative_PSKD)]
    u_D = fold_in_of(link, "mean", loss)(*inputs).numpy()
    cosine = float(u_D @ taste_D / np.linalg.norm(u_D) / np.linalg.norm(taste_D))
    assert cosine > 0.9


def test_more_retweets_of_a_kind_are_trusted_more() -> None:
    fold_in = fold_in_of("sum", "mean", "softmax", spread=0.3)
    one = vectors(3, 1)
    many = (one[0], *(z.expand(20, *z.shape[1:]) for z in one[1:]))
    assert fold_in(*many).norm() > 2 * fold_in(*one).norm()
