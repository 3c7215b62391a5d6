"""Runs that end early, and what is compared of them."""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from contract.progress import Progress, T
from training.trainer import Curve


def cut_off(after: int) -> Progress:
    """Ends the run as a person would, after some epochs."""

    def progress(items: Iterable[T], _total: int, _label: str) -> Iterator[T]:
        for done, item in enumerate(items, start=1):
            yield item
            if done == after:
                raise KeyboardInterrupt

    return progress


def without_seconds(curve: Curve) -> Curve:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in curve]


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
