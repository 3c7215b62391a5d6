"""How far long work is: whoever does it wraps what it goes through, whoever calls it says how that is shown."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Wraps an iterable of known length and shows how far it is."""

    def __call__(self, items: Iterable[T], total: int, label: str, /) -> Iterable[T]:
        """Yields the items unchanged."""


def silent(items: Iterable[T], _total: int, _label: str) -> Iterable[T]:
    """Shows nothing."""
    return items
