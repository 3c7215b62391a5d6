"""Checkpoints: written whole or not at all, and gone on from by any number of processes, sharded vectors or whole.

The file has all but what is sharded. That is in a folder beside it, which all processes must see, by
torch.distributed.checkpoint; it counts once the file names it.
"""

import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training.errors import CheckpointFailed
from training.processes import Processes
from training.sharded import ShardedVectors

FORMAT = "2"
"""Runs with checkpoints of another one are not found again."""
_KINDS = ("weight", "best", "sums")


class Weights(Protocol):
    """What every nn.Module has."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...

    def named_modules(self) -> Iterable[tuple[str, nn.Module]]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass
class TrainingState:
    """Everything that a later run needs to go on as if nothing had happened."""

    epoch: int
    best_auc: float
    best_weights: dict[str, Tensor]
    curve: list[dict[str, float]]


def save(
    state: TrainingState, model: Weights, optimizer: torch.optim.Optimizer, path: Path, processes: Processes
) -> None:
    """Called by all processes; the first one writes the file.

    Raises CheckpointFailed, in all of them, where one cannot write its part.
    """
    saved = {"model": model.state_dict(), "optimizer": _by_name(model, optimizer), **vars(state)}
    sharded = _sharded(model)
    if sharded is not None:
        name, table = sharded
        from torch.distributed.checkpoint.state_dict_saver import save as save_parts  # takes a second

        folder = path.with_name(f"{path.stem}.{state.epoch}")
        own = saved["model"].pop(name), state.best_weights[name], table.sums
        parts = {kind: table.as_distributed(rows_RD) for kind, rows_RD in zip(_KINDS, own, strict=True)}
        with of_parts(folder, "written", "mend that, then run the same command again"):
            save_parts(parts, checkpoint_id=folder)
        saved["best_weights"] = {key: value for key, value in state.best_weights.items() if key != name}
        saved["sharded"] = {"name": name, "folder": folder.name, "shape": [table.rows, table.dim]}
    if processes.first:
        partial = path.with_suffix(".partial")
        torch.save(saved, partial)
        partial.rename(path)
        _forget_folders(path, saved.get("sharded"))


def restore(
    state: TrainingState, model: Weights, optimizer: torch.optim.Optimizer, path: Path, processes: Processes
) -> None:
    """Go on from a checkpoint that is there; called by all processes, of which the first one reads the file.

    Raises CheckpointFailed where a part cannot be read.
    """
    saved = processes.from_first(torch.load(path, map_location="cpu", weights_only=True) if processes.first else None)
    _take_rows(saved, _sharded(model), path)
    model.load_state_dict(saved["model"])
    told, names = optimizer.state_dict(), _names(model, optimizer)
    told["state"] = {number: saved["optimizer"][name] for number, name in enumerate(names)}
    optimizer.load_state_dict(told)
    for name in vars(state):
        setattr(state, name, saved[name])


def _take_rows(saved: dict[str, Any], sharded: tuple[str, ShardedVectors] | None, path: Path) -> None:
    """Put the vectors, as this process holds them, in the place of those that were saved in another way."""
    table = None if sharded is None else sharded[1]
    if "sharded" in saved:
        name = saved["sharded"]["name"]
        weight, best, sums = _read(path.with_name(saved["sharded"]["folder"]), saved["sharded"]["shape"], table)
    elif sharded is not None:
        name = sharded[0]
        whole = saved["model"][name], saved["best_weights"][name], saved["optimizer"][name]["sum"]
        weight, best, sums = (sharded[1].own(whole_UD) for whole_UD in whole)
    else:
        return
    saved["model"][name], saved["best_weights"][name] = weight, best
    if table is None:
        step = next(iter(saved["optimizer"].values()))["step"]
        saved["optimizer"][name] = {"step": step, "sum": sums}
    else:
        table.sums.copy_(sums)


def _read(folder: Path, shape: list[int], table: ShardedVectors | None) -> list[Tensor]:
    """The rows of this process, or without a table all: weight, best weight and Adagrad's sums."""
    from torch.distributed.checkpoint.state_dict_loader import load

    mend = f"put it back, or delete {folder.parent} to begin anew"
    if not (folder / ".metadata").exists():  # torch would print tracebacks
        raise CheckpointFailed(f"{folder} is not there, or not whole: {mend}")
    rows = [torch.empty(shape if table is None else table.weight.shape) for _ in _KINDS]
    into = rows if table is None else [table.as_distributed(own_RD) for own_RD in rows]
    with warnings.catch_warnings(), of_parts(folder, "read", mend):
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # by no_dist: each reads what it needs
        load(dict(zip(_KINDS, into, strict=True)), checkpoint_id=folder, no_dist=True)
    return rows


@contextmanager
def of_parts(folder: Path, done: str, mend: str) -> Iterator[None]:
    """Raises CheckpointFailed for CheckpointException, which is no Exception and has the errors of all processes."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as failed:
        error, _ = next(iter(failed.failures.values()))
        why = (str(error).strip() or repr(error)).splitlines()[0]
        raise CheckpointFailed(f"{folder} cannot be {done} ({why}): {mend}") from error


def _sharded(model: Weights) -> tuple[str, ShardedVectors] | None:
    """A model has one table at most that is sharded: its name in the state dict, and the table."""
    found = ((f"{name}.weight", part) for name, part in model.named_modules() if isinstance(part, ShardedVectors))
    return next(found, None)


def _by_name(model: Weights, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state of every parameter; by number it would be another one where vectors are sharded."""
    of_number = optimizer.state_dict()["state"]
    return {name: of_number[number] for number, name in enumerate(_names(model, optimizer))}


def _names(model: Weights, optimizer: torch.optim.Optimizer) -> list[str]:
    """Of the parameters, in the optimizer's order."""
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    return [name_of[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def _forget_folders(path: Path, sharded: dict[str, Any] | None) -> None:
    """Those that the file does not name."""
    for folder in path.parent.glob(f"{path.stem}.*"):
        if folder.is_dir() and (sharded is None or folder.name != sharded["folder"]):
            shutil.rmtree(folder)
