from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from contract.progress import silent
from tests.interruption import cut_off, weights, without_seconds
from tests.problems import checkerboard
from training import losses
from training.errors import TrainingDiverged
from training.evaluate import Scorer
from training.factors import Factors, IdItems
from training.network import Ints
from training.problem import CandidateLists, Problem
from training.sampling import triple_sampler
from training.settings import Loss
from training.trainer import Pairs, Schedule, train


def one_positive_of(candidates: int) -> CandidateLists:
    """A list of a user 0, whose first candidate is the positive."""
    tweet_C = np.arange(candidates)
    return CandidateLists(np.array([0]), np.array([0, candidates]), tweet_C, tweet_C == 0)


TWO, FOUR, FIVE = one_positive_of(2), one_positive_of(4), one_positive_of(5)
POSITIVE_B1, NEGATIVE_BK = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0, 0.8], [1.0, -0.5]])
SCHEDULE = Schedule(epochs=6, batch=64, learning_rate=0.1, negatives=2, patience=10)

Triple = tuple[Ints, Ints, Ints]


class Fixed:
    """The same batch, some times an epoch."""

    def __init__(self, *triples: tuple[int, int, list[int]], times: int = 1) -> None:
        users, positives, negatives = zip(*triples, strict=True)
        self.batch: Triple = np.array(users), np.array(positives), np.array(negatives)
        self.times = times

    def batches(self, batch: int, negatives: int, seed: int, epoch: int) -> Iterator[Triple]:  # noqa: ARG002
        for _ in range(self.times):
            yield self.batch


class Scripted(nn.Module):
    """A model whose weight counts epochs and whose lists of four follow a script: how many negatives are on top."""

    def __init__(self, wrong_by_epoch: list[int], loss: float = 1.0) -> None:
        super().__init__()
        self.epochs = nn.Parameter(torch.zeros(1))
        self.wrong_by_epoch, self.loss, self.judged = wrong_by_epoch, loss, 0

    def pairs(self, user_B: Ints, positive_B: Ints, negative_BK: Ints) -> Pairs:  # noqa: ARG002
        with torch.no_grad():
            self.epochs.add_(1)
        loss = torch.tensor(self.loss) + 0 * self.epochs.sum()
        return Pairs(torch.zeros(1), torch.zeros(1, 1), torch.zeros(()), loss)

    def scorer(self) -> Scorer:
        wrong = self.wrong_by_epoch[self.judged]
        self.judged += 1
        score_C = np.array([0.0, *(1.0 if number < wrong else -1.0 for number in range(3))])
        return lambda lists: score_C[lists.tweet_C]


def factors(problem: Problem, seed: int = 0) -> Factors:
    torch.manual_seed(seed)
    return Factors(problem.users, 4, 0.1, IdItems(problem.tweets, 4, 0.1), 1e-3)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_rows_that_no_triple_touches_stay_bit_for_bit() -> None:
    torch.manual_seed(0)
    model = Factors(4, 3, 0.5, IdItems(5, 3, 0.5), 0.1)
    before = weights(model)
    train(model, Fixed((2, 0, [3, 3]), (2, 4, [3, 0])), FIVE, Schedule(5, 2, 0.1), silent, "test")
    after = weights(model)
    changed = {name: (after[name] != before[name]).any(dim=1).nonzero().flatten().tolist() for name in before}
    assert changed == {"users.weight": [2], "items.vectors.weight": [0, 3, 4], "items.biases.weight": [0, 3, 4]}


def test_a_gradient_holds_the_touched_rows_alone() -> None:
    model = Factors(4, 3, 0.5, IdItems(5, 3, 0.5), 0.1)
    pairs = model.pairs(np.array([2]), np.array([0]), np.array([[3]]))
    (pairs.positive_B.sum() + pairs.penalty).backward()  # type: ignore[no-untyped-call]
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.is_sparse
        assert set(parameter.grad.coalesce().indices()[0].tolist()) <= {0, 2, 3}


def test_three_sparse_steps_are_adagrad_s() -> None:
    """The learning rate times the gradient over the root of the sum of its squares, worked out beside."""
    model = Factors(1, 1, 1.0, IdItems(2, 1, 1.0), 0.0)
    u, v, b, squares = 0.5, np.array([1.0, -1.5]), np.zeros(2), np.zeros(5)
    with torch.no_grad():
        model.users.weight.fill_(u)
        model.items.get_parameter("vectors.weight").copy_(torch.from_numpy(v)[:, None])
    for _ in range(3):
        slope = -1 / (1 + np.exp(u * (v[0] - v[1]) + b[0] - b[1]))
        gradient = slope * np.array([v[0] - v[1], u, -u, 1, -1])
        squares += gradient**2
        step = 0.1 * gradient / np.sqrt(squares)
        u, v, b = u - step[0], v - step[1:3], b - step[3:]
    train(model, Fixed((0, 0, [1]), times=3), TWO, Schedule(1, 1, 0.1), silent, "test")
    assert model.users.weight.item() == pytest.approx(u, abs=1e-6)
    assert model.items.get_parameter("vectors.weight").flatten().tolist() == pytest.approx(v.tolist(), abs=1e-6)
    assert model.items.get_parameter("biases.weight").flatten().tolist() == pytest.approx(b.tolist(), abs=1e-6)


def test_a_part_with_a_rate_of_its_own_learns_by_that() -> None:
    """Adagrad's first step is as long as the learning rate, whatever the gradient."""
    model = Factors(1, 1, 1.0, IdItems(2, 1, 1.0), 0.0)
    with torch.no_grad():
        model.users.weight.fill_(0.5)
        model.items.get_parameter("vectors.weight").copy_(torch.tensor([[1.0], [-1.5]]))
    before = weights(model)
    train(model, Fixed((0, 0, [1])), TWO, Schedule(1, 1, 0.1, rates={"items.vectors": 0.003}), silent, "test")
    step = {name: (after - before[name]).abs().flatten().tolist() for name, after in weights(model).items()}
    assert step["items.vectors.weight"] == pytest.approx([0.003, 0.003], rel=1e-3)
    assert step["users.weight"] + step["items.biases.weight"] == pytest.approx([0.1, 0.1, 0.1], rel=1e-3)


@pytest.mark.parametrize("stopped_after", [1, 3, 5])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path, stopped_after: int) -> None:
    problem = checkerboard(0, users=12, tweets=30, followees=4)
    sampler = triple_sampler(problem, "uniform")
    whole = factors(problem)
    curve = train(whole, sampler, problem.validation, SCHEDULE, silent, "test")
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        train(factors(problem), sampler, problem.validation, SCHEDULE, cut_off(stopped_after), "test", checkpoint)
    resumed = factors(problem, seed=1)
    curve_of_both = train(resumed, sampler, problem.validation, SCHEDULE, silent, "test", checkpoint)
    assert same(weights(resumed), weights(whole))
    assert without_seconds(curve_of_both) == without_seconds(curve)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_finished_checkpoint_is_not_trained_further(tmp_path: Path) -> None:
    problem = checkerboard(0, users=12, tweets=30, followees=4)
    sampler, checkpoint = triple_sampler(problem, "uniform"), tmp_path / "checkpoint.pt"
    first, again = factors(problem), factors(problem, seed=1)
    curve = train(first, sampler, problem.validation, SCHEDULE, silent, "test", checkpoint)
    assert train(again, sampler, problem.validation, SCHEDULE, silent, "test", checkpoint) == curve
    assert same(weights(again), weights(first))


def test_a_loss_that_is_not_a_number_ends_training() -> None:
    for loss in (float("nan"), float("inf")):
        with pytest.raises(TrainingDiverged, match=f"the loss became {loss} in epoch 1: lower the learning rate"):
            train(Scripted([0], loss), Fixed((0, 0, [1])), TWO, Schedule(3, 1, 0.1), silent, "test")


def test_weights_that_overflow_end_training() -> None:
    model = Factors(1, 1, 1.0, IdItems(2, 1, 1.0), 0.0)
    with torch.no_grad():
        model.users.weight.fill_(3e38)
        model.items.get_parameter("vectors.weight").fill_(3e38)
    with pytest.raises(TrainingDiverged):
        train(model, Fixed((0, 0, [1])), TWO, Schedule(3, 1, 0.1), silent, "test")


@pytest.mark.parametrize(
    ("wrong_by_epoch", "patience", "epochs", "best"),
    [
        ([3, 2, 1, 0, 0, 0], 2, 6, 4),
        ([1, 2, 3, 0, 0, 0], 2, 3, 1),
        ([1, 2, 3, 0, 0, 0], 3, 6, 4),
        ([1, 1, 1, 1, 1, 1], 4, 5, 1),
        ([2, 1, 2, 0, 1, 1], 1, 3, 2),
    ],
)
def test_patience_ends_training_and_the_best_epoch_is_kept(
    wrong_by_epoch: list[int], patience: int, epochs: int, best: int
) -> None:
    model = Scripted(wrong_by_epoch)
    curve = train(model, Fixed((0, 0, [1])), FOUR, Schedule(6, 1, 0.1, patience=patience), silent, "test")
    assert [row["epoch"] for row in curve] == list(range(1, epochs + 1))
    assert [row["auc"] for row in curve] == pytest.approx([1 - wrong / 3 for wrong in wrong_by_epoch[:epochs]])
    assert model.epochs.item() == best


def test_hinge_is_the_mean_of_what_is_missing_to_the_margin() -> None:
    """Missing: 0.5 - 1, 0.5 - 0.2; 0.5 + 1, 0.5 - 0.5."""
    assert losses.hinge(POSITIVE_B1, NEGATIVE_BK, 0.5).item() == pytest.approx((0 + 0.3 + 1.5 + 0) / 4)


def test_bpr_is_the_mean_log_odds_of_each_pair() -> None:
    by_hand = np.mean([np.log1p(np.exp(-difference)) for difference in (1.0, 0.2, -1.0, 0.5)])
    assert losses.bpr(POSITIVE_B1, NEGATIVE_BK).item() == pytest.approx(by_hand)


def test_sampled_softmax_is_the_mean_log_share_of_the_positive() -> None:
    first = np.exp(1.0) / (np.exp(1.0) + np.exp(0.0) + np.exp(0.8))
    second = np.exp(0.0) / (np.exp(0.0) + np.exp(1.0) + np.exp(-0.5))
    by_hand = -(np.log(first) + np.log(second)) / 2
    assert losses.sampled_softmax(POSITIVE_B1, NEGATIVE_BK).item() == pytest.approx(by_hand)


def test_losses_do_not_overflow() -> None:
    positive_B1, negative_BK = torch.tensor([[-1e4]]), torch.tensor([[1e4, 0.0]])
    assert losses.bpr(positive_B1, negative_BK).item() == pytest.approx(1.5e4)
    assert losses.sampled_softmax(positive_B1, negative_BK).item() == pytest.approx(2e4)


@pytest.mark.parametrize(
    ("loss", "expected"), [("hinge", 0.5 + 0.25), ("bpr", np.log1p(np.exp(0.25))), ("softmax", np.log1p(np.exp(0.25)))]
)
def test_the_schedule_says_which_loss_is_descended(loss: Loss, expected: float) -> None:
    model = Factors(1, 1, 1.0, IdItems(2, 1, 1.0), 0.0)
    with torch.no_grad():
        model.users.weight.fill_(0.5)
        model.items.get_parameter("vectors.weight").copy_(torch.tensor([[1.0], [1.5]]))
    curve = train(model, Fixed((0, 0, [1])), TWO, Schedule(1, 1, 0.1, loss, margin=0.5), silent, "test")
    assert curve[0]["loss"] == pytest.approx(expected)
