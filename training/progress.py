"""Progress of long work for people: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

_SECONDS_BETWEEN_LINES = 5.0


def terminal(items: Iterable[T], total: int, label: str) -> Iterable[T]:
    """A bar on standard error where that is a terminal, else a line every few seconds and one at the end.

    Nothing where it is closed.
    """
    if sys.stderr is None:
        return items
    if sys.stderr.isatty():
        return tqdm(items, total=total, desc=label, leave=True)
    return _lines(items, total, label)


def _lines(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    started = shown = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == total or now - shown >= _SECONDS_BETWEEN_LINES:
            print(f"{label}: {done:,} of {total:,} after {now - started:.0f} s", file=sys.stderr, flush=True)
            shown = now
