"""The trainer that all pairwise systems share: batches, loss, Adagrad, the best epoch by validation AUC, a checkpoint.

Of several processes each draws the same batches and takes its share of each, so that what is descended does not depend
on how many there are.

Shape suffixes: B triples of a batch, K negatives a positive.
"""

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from contract.progress import Progress
from training import checkpoints, losses
from training.checkpoints import TrainingState, Weights
from training.errors import TrainingDiverged
from training.evaluate import Scorer, judge
from training.network import Ints
from training.problem import CandidateLists
from training.processes import ALONE, Processes
from training.settings import Loss
from training.sharded import ShardedVectors

Curve = list[dict[str, float]]
Triples = tuple[Ints, Ints, Ints]
"""Users [B], positives [B], negatives [B, K]."""


class Pairs(NamedTuple):
    """Scores of positives, float32 [B], and of their negatives, [B, K]; `penalty` is the regularisation to add.

    A system with a loss of its own gives it, and it takes the place of the schedule's.
    """

    positive_B: Tensor
    negative_BK: Tensor
    penalty: Tensor
    own_loss: Tensor | None = None


class PairwiseModel(Weights, Protocol):
    """What the trainer asks of a system: scores, and what every nn.Module has."""

    def pairs(self, user_B: Ints, positive_B: Ints, negative_BK: Ints) -> Pairs:
        """Scores to learn from."""

    def scorer(self) -> Scorer:
        """Scores to judge by, of the model as it is now."""

    def get_submodule(self, target: str) -> nn.Module: ...

    def train(self) -> Any: ...

    def eval(self) -> Any: ...


class SharedModel(PairwiseModel, Protocol):
    """What several processes can train."""

    def pairs_of(self, shares: Sequence[Triples], own: int) -> Pairs:
        """Scores of one's own share of a batch; the penalties of all shares add up to the whole batch's."""


class Sampler(Protocol):
    """Where triples come from."""

    def batches(self, batch: int, negatives: int, seed: int, epoch: int) -> Iterator[Triples]:
        """An epoch, by batches."""


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


def train(
    model: PairwiseModel,
    sampler: Sampler,
    validation: CandidateLists,
    schedule: Schedule,
    progress: Progress,
    label: str,
    checkpoint: Path | None = None,
    processes: Processes = ALONE,
) -> Curve:
    """Train a system; it is left with the weights of the best epoch by validation AUC.

    Gradients may be sparse: a row that no sample touched costs nothing. A checkpoint that is there is gone on from.
    Of several processes all make the same call, with a SharedModel each.
    Returns loss, validation metrics and seconds by epoch. Raises TrainingDiverged where the loss is not finite.
    """
    torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]  # said, so that torch does not warn
    optimizer = torch.optim.Adagrad(_groups(model, schedule.rates), lr=schedule.learning_rate)
    objective = _objective(model, schedule, processes)
    state = TrainingState(0, -1.0, copy.deepcopy(model.state_dict()), [])
    if checkpoint is not None and processes.from_first(checkpoint.exists()):
        checkpoints.restore(state, model, optimizer, checkpoint, processes)

    def epochs() -> Iterator[int]:
        while state.epoch < schedule.epochs and not _out_of_patience(state, schedule.patience):
            started = time.perf_counter()
            loss = _train_epoch(objective, optimizer, sampler, schedule, state.epoch, processes)
            seconds = time.perf_counter() - started
            scores = judge(validation, processes.together(model.scorer()), schedule.seed).means
            state.epoch += 1
            state.curve.append({"epoch": state.epoch, "loss": loss, "seconds": seconds, **scores})
            if scores["auc"] > state.best_auc:
                state.best_auc, state.best_weights = scores["auc"], copy.deepcopy(model.state_dict())
            if checkpoint is not None:
                checkpoints.save(state, model, optimizer, checkpoint, processes)
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


class Objective(nn.Module):
    """What is descended on a batch, as a module: DistributedDataParallel wraps one, and takes the mean of gradients."""

    def __init__(self, model: PairwiseModel, schedule: Schedule, processes: Processes) -> None:
        super().__init__()
        self.model, self.schedule, self.processes = model, schedule, processes

    def forward(self, *batch: Ints) -> tuple[Tensor, Tensor]:
        """The loss, and loss and penalty together, scalars.

        Of several processes the losses add up to the batch's, and the mean of what is descended is what one descends.
        """
        if not self.processes.several:
            pairs = self.model.pairs(*batch)
            loss = pair_loss(pairs, self.schedule)
            return loss, loss + pairs.penalty
        triples = len(batch[0])
        shares = [cast(Triples, tuple(column[share] for column in batch)) for share in self.processes.shares(triples)]
        pairs = cast(SharedModel, self.model).pairs_of(shares, self.processes.rank)
        loss = pair_loss(pairs, self.schedule) * (self.processes.count(triples) / triples)
        return loss, self.processes.world * (loss + pairs.penalty)


def _objective(model: PairwiseModel, schedule: Schedule, processes: Processes) -> nn.Module:
    """Wrapped for several processes: they start with the first one's weights, but for what each has a part of."""
    objective = Objective(model, schedule, processes)
    if not processes.several:
        return objective
    own = [f"{name}.weight" for name, part in objective.named_modules() if isinstance(part, ShardedVectors)]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(objective, own)  # type: ignore[no-untyped-call]
    if next(model.parameters()).is_cuda:
        dense_gradients(model)  # nccl adds up no sparse ones
    not_all_used = bool(schedule.rates)  # a backbone may have layers above the features; all else is in the penalty
    return DistributedDataParallel(objective, forward_sync_buffers=False, find_unused_parameters=not_all_used)


def dense_gradients(model: Weights) -> None:
    """Let tables have gradients of all rows; Adagrad leaves those alone whose gradient is 0."""
    for _, part in model.named_modules():
        if isinstance(part, nn.Embedding):
            part.sparse = False


def _train_epoch(
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    sampler: Sampler,
    schedule: Schedule,
    epoch: int,
    processes: Processes,
) -> float:
    objective.train()
    total, count = 0.0, 0
    for batch in sampler.batches(schedule.batch, schedule.negatives, schedule.seed, epoch):
        loss, descended = objective(*batch)
        optimizer.zero_grad()
        descended.backward()
        optimizer.step()
        total, count = total + loss.item() * len(batch[0]), count + len(batch[0])
    total = processes.total(total)
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
