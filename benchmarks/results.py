"""What a benchmark found: rows for docs/performance/results.json, and a section of docs/performance.md."""

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Result:
    """One figure; `met` is None where there is no goal. `against` is what it was measured beside, or compares with."""

    name: str
    value: float
    unit: str
    goal: str | None
    met: bool | None
    against: str
    machine: str
    command: str


def result(name: str, value: float, unit: str, against: str, run_by: str, goal: tuple[str, float] | None) -> Result:
    """With a goal: ">=" or "<=" and a value."""
    met = None
    if goal is not None:
        met = value >= goal[1] if goal[0] == ">=" else value <= goal[1]
    wanted = None if goal is None else f"{goal[0]} {goal[1]:g}"
    return Result(name, value, unit, wanted, met, against, machine(), run_by)


def exponent(by_size: Mapping[int, float]) -> float:
    """Of a value by size, over the last decade: 1 is linear."""
    largest = max(by_size)
    tenth = min(by_size, key=lambda size: abs(size - largest / 10))
    return math.log(by_size[largest] / by_size[tenth]) / math.log(largest / tenth)


def command(benchmark: str) -> str:
    """How to run one by itself: with one thread, as `make bench` does."""
    return f"OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive python -m benchmarks.{benchmark}"


@dataclass(frozen=True)
class Section:
    """Of the page: Markdown, rows, and plots by the name of their file."""

    title: str
    text: str
    results: list[Result]
    figures: dict[str, Figure] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"## {self.title}", self.text, *([results_table(self.results)] if self.results else [])]
        return "\n\n".join(parts)


def results_table(results: Sequence[Result]) -> str:
    """In Markdown."""
    rows = []
    for one in results:
        value = f"{one.value:,.3g}" if abs(one.value) < 1_000 else f"{one.value:,.0f}"
        met = {None: "", True: "yes", False: "**no**"}[one.met]
        rows.append([one.name, value, one.unit, one.goal or "", met, one.against])
    return table(["What", "Value", "Unit", "Goal", "Met", "Beside"], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def machine() -> str:
    """The processor's name and how many cores there are."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text("utf-8").splitlines() if path.exists() else []
