"""Whether what a service holds is flat in the end: how it grows over the last two thirds of the time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
FEWEST = 9
"""Samples: three in each third."""


@dataclass(frozen=True)
class Sample:
    """At one moment; the requests are those since the one before."""

    seconds: float
    memory_mb: float
    heap_mb: float
    python_blocks: float
    descriptors: int
    threads: int
    redis_keys: int
    redis_mb: float
    requests: int
    p50_ms: float
    p99_ms: float


def per_hour(hours: Values, values: Values) -> float:
    """The slope of the line through them."""
    centred = hours - hours.mean()
    return float(centred @ values / (centred @ centred))


def more(_: Values, values: Values) -> float:
    """By how much the mean of the second half is over that of the first."""
    before, last = halves(values)
    return last - before


def share(_: Values, values: Values) -> float:
    """The same as a share."""
    before, last = halves(values)
    return last / before - 1


def halves(values: Values) -> tuple[float, float]:
    """The mean of either."""
    middle = len(values) // 2
    return float(values[:middle].mean()), float(values[middle:].mean())


@dataclass(frozen=True)
class Bound:
    """What it is called, and how much it may grow at most, in words as `shown` has it."""

    label: str
    growth: Callable[[Values, Values], float]
    most: float
    shown: str


FLAT = {
    "memory_mb": Bound("memory of the service, MB", per_hour, 30, "{:+.1f} MB/h"),
    "heap_mb": Bound("of it in use in the heap, MB", per_hour, 5, "{:+.1f} MB/h"),
    "python_blocks": Bound("of it blocks of Python's", share, 0.01, "{:+.1%}"),
    "descriptors": Bound("open descriptors", more, 1, "{:+.1f}"),
    "threads": Bound("threads", more, 1, "{:+.1f}"),
    "redis_keys": Bound("keys in Redis", share, 0.03, "{:+.1%}"),
    "redis_mb": Bound("memory of Redis, MB", per_hour, 2, "{:+.1f} MB/h"),
}


@dataclass(frozen=True)
class Line:
    """How one of them went: its mean in the last third of the time, and in the third before."""

    name: str
    before: float
    last: float
    growth: float

    @property
    def grows(self) -> bool:
        """Also where it is no number."""
        return not self.growth <= FLAT[self.name].most

    def __str__(self) -> str:
        bound = FLAT[self.name]
        growth, most = (bound.shown.format(value) for value in (self.growth, bound.most))
        flat = "GROWS" if self.grows else "flat"
        return f"{bound.label:28} {self.before:10,.1f} {self.last:10,.1f} {growth:>12} {most:>12}  {flat}"


def lines_of(samples: Sequence[Sample]) -> list[Line]:
    """All of them. Raises ValueError where there are too few samples."""
    if len(samples) < FEWEST:
        raise ValueError(f"{len(samples)} samples are too few, at least {FEWEST} are needed: give more --minutes")
    later = samples[-2 * (len(samples) // 3) :]
    hours = np.array([sample.seconds / 3_600 for sample in later])
    return [line_of(name, hours, np.array([getattr(one, name) for one in later], dtype=np.float64)) for name in FLAT]


def line_of(name: str, hours: Values, values: Values) -> Line:
    """One of them."""
    return Line(name, *halves(values), FLAT[name].growth(hours, values))
