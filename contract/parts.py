"""Some at a time."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def in_parts(items: Sequence[T], size: int) -> list[list[T]]:
    """The same items in lists of `size`, the last of which may be shorter."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
