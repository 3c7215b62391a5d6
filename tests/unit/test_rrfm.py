from collections.abc import Iterator

import numpy as np
import pytest
import torch

from contract.progress import silent
from training.baselines.rrfm import ALPHA, ETA, Boundaries, loss, smooth_hinge
from training.factors import IdItems
from training.network import Ints
from training.problem import CandidateLists
from training.trainer import Schedule, train

LISTS = CandidateLists(np.array([0]), np.array([0, 2]), np.array([0, 1]), np.array([True, False]))


class OneTriple:
    """User 0 retweeted tweet 0 and not tweet 1."""

    def batches(self, batch: int, negatives: int, seed: int, epoch: int) -> Iterator[tuple[Ints, Ints, Ints]]:  # noqa: ARG002
        yield np.array([0]), np.array([0]), np.array([[1]])


def s(a: float) -> float:
    """From the definition."""
    return float(a + np.log1p(np.exp(-ETA * a)) / ETA)


def boundaries(l2: float = 0.0) -> Boundaries:
    torch.manual_seed(0)
    return Boundaries(2, 3, 0.5, IdItems(2, 3, 0.5), l2)


def test_the_smooth_hinge_is_its_formula_and_nearly_a_hinge() -> None:
    a_N = torch.linspace(-3, 3, 61, dtype=torch.float64)
    assert smooth_hinge(a_N).numpy() == pytest.approx([s(a) for a in a_N.tolist()])
    assert smooth_hinge(torch.tensor(0.0)).item() == pytest.approx(np.log(2) / ETA)
    assert (smooth_hinge(a_N) - a_N.clamp(min=0)).abs().max() == pytest.approx(np.log(2) / ETA)


def test_the_smooth_hinge_does_not_overflow() -> None:
    assert smooth_hinge(torch.tensor([-1e4, 1e4])).tolist() == pytest.approx([0, 1e4])


def test_the_loss_is_what_the_formula_gives_by_hand() -> None:
    positive_B, theta_B = torch.tensor([1.5, -0.5]), torch.tensor([0.5, 0.0])
    negative_BK = torch.tensor([[0.5, 2.0], [-3.0, 0.25]])
    above = (s(1 - (1.5 - 0.5)) ** 2 + s(1 - (-0.5 - 0.0)) ** 2) / 2
    below = (s(1 + 0.0) ** 2 + s(1 + 1.5) ** 2 + s(1 - 3.0) ** 2 + s(1 + 0.25) ** 2) / 4
    assert loss(positive_B, negative_BK, theta_B).item() == pytest.approx(above + ALPHA * below, rel=1e-5)


def test_the_loss_vanishes_where_all_are_far_on_their_side_of_the_boundary() -> None:
    far = loss(torch.tensor([13.0]), torch.tensor([[-7.0]]), torch.tensor([3.0]))
    assert far.item() == pytest.approx(0, abs=1e-9)


def test_gradients_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).mul_(2).requires_grad_()

    assert torch.autograd.gradcheck(loss, (drawn(5), drawn(5, 3), drawn(5)))


def test_a_user_s_boundary_is_used_and_learned() -> None:
    model = boundaries()
    with torch.no_grad():
        model.boundaries.weight[1] = 0.7
    pairs = model.pairs(np.array([1]), np.array([0]), np.array([[1]]))
    assert pairs.own_loss is not None
    expected = loss(pairs.positive_B, pairs.negative_BK, torch.tensor([0.7]))
    assert pairs.own_loss.item() == pytest.approx(expected.item())
    pairs.own_loss.backward()  # type: ignore[no-untyped-call]
    gradient = model.boundaries.weight.grad
    assert gradient is not None
    assert gradient.to_dense()[:, 0].ne(0).tolist() == [False, True]


def test_training_descends_this_loss_and_no_other() -> None:
    """Adagrad's first step is the learning rate times the gradient's sign, and the loss is reported as it is."""
    model, untrained = boundaries(), boundaries()
    pairs = untrained.pairs(np.array([0]), np.array([0]), np.array([[1]]))
    expected = loss(pairs.positive_B, pairs.negative_BK, torch.zeros(1))
    curve = train(model, OneTriple(), LISTS, Schedule(1, 1, 0.01), silent, "rrfm")
    assert curve[0]["loss"] == pytest.approx(expected.item())
    expected.backward()  # type: ignore[no-untyped-call]
    for name, parameter in untrained.named_parameters():
        if parameter.grad is not None:
            step = model.get_parameter(name) - parameter
            assert torch.allclose(step, -0.01 * parameter.grad.to_dense().sign(), atol=1e-5), name


def test_a_solved_triple_is_left_alone() -> None:
    """A pairwise loss would pull it further apart."""
    model = boundaries()
    with torch.no_grad():
        model.users.weight[0] = torch.tensor([6.0, 0, 0])
        model.get_parameter("items.vectors.weight").copy_(torch.tensor([[3.0, 0, 0], [-3.0, 0, 0]]))
    before = model.users.weight.detach().clone()
    train(model, OneTriple(), LISTS, Schedule(1, 1, 0.01), silent, "rrfm")
    assert torch.allclose(model.users.weight, before, atol=1e-6)
