"""What is computed and measured in docs/scale.md, from docs/scale/results.json."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Result, results_table
from benchmarks.scale.assumptions import Assumptions, rows
from benchmarks.scale.constants import ROWS, Constants, NotMeasured
from benchmarks.scale.plan_lines import BREAKS, CHANGES, LINES, Line
from benchmarks.scale.shape import Network
from docs.generate.markdown import Row, all_filled, table

_SIZES = {"1 million": 1e6, "100 million": 1e8, "1 billion": 1e9}
_OURS = {"service_times": False, "storage": True, "loads": False, "simulation": False}
"""The sections that plan and simulation rest on, and whether their rows are shown: the others' texts have them."""


def scale_page(page: Path, docs: Path) -> str:
    """The page with its tables."""
    constants, assumed = Constants(docs), Assumptions()
    sections: dict[str, Any] = json.loads((docs / "scale" / "results.json").read_text("utf-8"))
    others = [section(found, shown=True) for name, found in sections.items() if name not in _OURS]
    rest = ["service_times", "storage", "loads"]
    return all_filled(
        page,
        {
            "measured sections": "\n".join(others) or "Nothing was measured yet.\n",
            "plan": plan(LINES, constants, assumed),
            "breaks": plan(BREAKS, constants, assumed),
            "changes": plan(CHANGES, constants, assumed),
            "assumptions": table(("What", "Value", "Unit", "Why"), rows(assumed)),
            "simulation": sections["simulation"]["text"] + "\n" if "simulation" in sections else "Not run yet.\n",
            "measurements": "\n".join(section(sections[one], _OURS[one]) for one in rest if one in sections),
            "constants": table(("Constant", "Value", "Unit", "Row", "Of"), _constants(constants)),
        },
    )


def section(found: dict[str, Any], shown: bool) -> str:
    """Its title, its text and, where they are `shown`, its rows."""
    results = [Result(**one) for one in found["results"]] if shown else []
    parts = [f"### {found['title']}", found["text"], *([results_table(results)] if results else [])]
    return "\n\n".join(part for part in parts if part) + "\n"


def plan(lines: Sequence[Line], constants: Constants, assumed: Assumptions) -> str:
    """By size of the network; what lacks a constant says which."""
    networks = [Network(users, assumed) for users in _SIZES.values()]
    header = ("What", *(f"{name} users" for name in _SIZES), "Unit")
    return table(header, ([line.name, *(_cell(line, one, constants) for one in networks), line.unit] for line in lines))


def _cell(line: Line, network: Network, constants: Constants) -> str:
    try:
        value = line.value(network, constants)
        return "without end" if math.isinf(value) else number(value)
    except NotMeasured as missing:
        return f"lacks {missing}"


def number(value: float) -> str:
    """Three digits."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"


def _constants(constants: Constants) -> Iterator[Row]:
    for name, row in ROWS.items():
        try:
            found = constants.constant(name)
            yield name.replace("_", " "), number(found.value), found.unit, found.name, f"docs/{found.file}"
        except NotMeasured:
            yield name.replace("_", " "), "not measured", row.unit, row.name, f"docs/{row.section or 'performance'}"
