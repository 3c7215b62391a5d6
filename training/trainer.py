"""The trainer that all pairwise systems share: batches, loss, Adagrad, the best epoch by validation AUC, a checkpoint.

Shape suffixes: B triples of a batch, K negatives a positive.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from contract.progress import Progress
from training import losses
from training.errors import TrainingDiverged
from training.evaluate import Scorer, judge
from training.network import Ints
from training.problem import CandidateLists
from training.settings import Loss

Curve = list[dict[str, float]]


class Pairs(NamedTuple):
    """Scores of positives, float32 [B], and of their negatives, [B, K]; `penalty` is the regularisation to add.

    A system with a loss of its own gives it, and it takes the place of the schedule's.
    """

    positive_B: Tensor
    negative_BK: Tensor
    penalty: Tensor
    own_loss: Tensor | None = None


class PairwiseModel(Protocol):
    """What the trainer asks of a system: scores, and what every nn.Module has."""

    def pairs(self, user_B: Ints, positive_B: Ints, negative_BK: Ints) -> Pairs:
        """Scores to learn from."""

    def scorer(self) -> Scorer:
        """Scores to judge by, of the model as it is now."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def get_submodule(self, target: str) -> nn.Module: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...

    def train(self) -> Any: ...

    def eval(self) -> Any: ...


class Sampler(Protocol):
    """Where triples come from."""

    def batches(self, batch: int, negatives: int, seed: int, epoch: int) -> Iterator[tuple[Ints, Ints, Ints]]:
        """An epoch: users [B], positives [B], negatives [B, K] a batch."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int
    batch: int
    learning_rate: float
    loss: Loss = "bpr"
    margin: float = 0.5
    negatives: int = 1
    patience: int = 1_000
    seed: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    """Learning rates of a model's parts that have one of their own, by the part's name."""


@dataclass
class TrainingState:
    """Everything that a later run needs to go on as if nothing had happened."""

    epoch: int
    best_auc: float
    best_weights: dict[str, Tensor]
    curve: Curve


def train(
    model: PairwiseModel,
    sampler: Sampler,
    validation: CandidateLists,
    schedule: Schedule,
    progress: Progress,
    label: str,
    checkpoint: Path | None = None,
) -> Curve:
    """Train a system; it is left with the weights of the best epoch by validation AUC.

    Gradients may be sparse: a row that no sample touched costs nothing. A checkpoint that is there is gone on from.
    Returns loss, validation metrics and seconds by epoch. Raises TrainingDiverged where the loss is not finite.
    """
    torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]  # said, so that torch does not warn
    optimizer = torch.optim.Adagrad(_groups(model, schedule.rates), lr=schedule.learning_rate)
    state = TrainingState(0, -1.0, copy.deepcopy(model.state_dict()), [])
    if checkpoint is not None and checkpoint.exists():
        _restore(state, model, optimizer, checkpoint)

    def epochs() -> Iterator[int]:
        while state.epoch < schedule.epochs and not _out_of_patience(state, schedule.patience):
            started = time.perf_counter()
            loss = _train_epoch(model, optimizer, sampler, schedule, state.epoch)
            seconds = time.perf_counter() - started
            scores = judge(validation, model.scorer(), schedule.seed).means
            state.epoch += 1
            state.curve.append({"epoch": state.epoch, "loss": loss, "seconds": seconds, **scores})
            if scores["auc"] > state.best_auc:
                state.best_auc, state.best_weights = scores["auc"], copy.deepcopy(model.state_dict())
            if checkpoint is not None:
                _save(state, model, optimizer, checkpoint)
            yield state.epoch

    for _ in progress(epochs(), schedule.epochs - state.epoch, label):
        pass
    model.load_state_dict(state.best_weights)
    model.eval()
    return state.curve


def _groups(model: PairwiseModel, rates: dict[str, float]) -> list[dict[str, Any]]:
    """The parameters that share the schedule's learning rate, then those of each part that has its own."""
    parts = {part: [*model.get_submodule(part).parameters()] for part in rates}
    own = {id(parameter) for parameters in parts.values() for parameter in parameters}
    shared = [parameter for parameter in model.parameters() if id(parameter) not in own]
    return [{"params": shared}, *({"params": parts[part], "lr": rate} for part, rate in rates.items())]


def _train_epoch(
    model: PairwiseModel, optimizer: torch.optim.Optimizer, sampler: Sampler, schedule: Schedule, epoch: int
) -> float:
    model.train()
    total, count = 0.0, 0
    for user_B, positive_B, negative_BK in sampler.batches(schedule.batch, schedule.negatives, schedule.seed, epoch):
        pairs = model.pairs(user_B, positive_B, negative_BK)
        loss = pair_loss(pairs, schedule)
        optimizer.zero_grad()
        (loss + pairs.penalty).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total, count = total + loss.item() * len(user_B), count + len(user_B)
    if not total < float("inf"):
        raise TrainingDiverged(
            f"the loss became {total / count} in epoch {epoch + 1}: lower the learning rate or the initial deviation"
        )
    return total / count


def pair_loss(pairs: Pairs, schedule: Schedule) -> Tensor:
    """The schedule's loss of positives and their negatives, or the system's own; without the penalty."""
    if pairs.own_loss is not None:
        return pairs.own_loss
    match schedule.loss:
        case "hinge":
            return losses.hinge(pairs.positive_B[:, None], pairs.negative_BK, schedule.margin)
        case "bpr":
            return losses.bpr(pairs.positive_B[:, None], pairs.negative_BK)
        case "softmax":
            return losses.sampled_softmax(pairs.positive_B[:, None], pairs.negative_BK)


def _out_of_patience(state: TrainingState, patience: int) -> bool:
    best = max(range(len(state.curve)), key=lambda row: state.curve[row]["auc"], default=0)
    return len(state.curve) - 1 - best >= patience


def _save(state: TrainingState, model: PairwiseModel, optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    partial = checkpoint.with_suffix(".partial")
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), **vars(state)}
    torch.save(saved, partial)
    partial.rename(checkpoint)


def _restore(state: TrainingState, model: PairwiseModel, optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    saved: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    for name in vars(state):
        setattr(state, name, saved[name])
