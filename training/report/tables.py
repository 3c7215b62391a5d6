"""Tables that know how to be HTML and Markdown."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby

import numpy as np

from training.report.lineup import GROUPS, Group, competes, detail, placed
from training.results import Estimate, Row

LABELS = {"p@1": "P@1", "p@3": "P@3", "p@3/min": "P@3/min", "auc": "AUC", "ndcg@10": "NDCG@10", "mrr": "MRR"}
COMPARED = ("p@1", "p@3", "auc")
"""What the paper has."""
NOT_RUN = "not run"
NOT_FOR_IT = "not for this network"
_WITH_INTERVAL = (*COMPARED, "p@3/min")


@dataclass(frozen=True)
class Cell:
    """A value as text, with what stands small beside it; `best` of its column is bold, `muted` is not ours."""

    text: str
    small: str = ""
    best: bool = False
    muted: bool = False


@dataclass(frozen=True)
class Line:
    """A row: whose it is, what stands small beside that, and a cell for every column but the first."""

    label: str
    detail: str
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """Rows by group; a group without a title has no line of its own."""

    caption: str
    columns: list[str]
    groups: list[tuple[str, list[Line]]]
    note: str = ""
    wraps: bool = False
    """Whether its cells may be of more than one line."""

    def html(self) -> str:
        """A table that scrolls sideways in its own frame where the window is narrow."""
        head = "".join(f'<th scope="col">{escape(column)}</th>' for column in self.columns)
        bodies = "".join(
            f"<tbody>{self._title(title)}{''.join(map(_html_line, lines))}</tbody>" for title, lines in self.groups
        )
        opening = '<table class="wraps">' if self.wraps else "<table>"
        note = f'<p class="note">{escape(self.note)}</p>' if self.note else ""
        return (
            f'<div class="frame" role="region" tabindex="0" aria-label="{escape(self.caption)}">'
            f"{opening}<caption><span>{escape(self.caption)}</span></caption>"
            f"<thead><tr>{head}</tr></thead>{bodies}</table></div>{note}"
        )

    def markdown(self) -> str:
        """The same for a document."""
        lines = [f"**{_markdown(self.caption)}**", "", _pipes(map(_markdown, self.columns))]
        lines.append(_pipes("---" for _ in self.columns))
        for title, rows in self.groups:
            if title:
                lines.append(_pipes([f"*{_markdown(title)}*", *("" for _ in self.columns[1:])]))
            lines += [_pipes([_markdown_label(row), *map(_markdown_cell, row.cells)]) for row in rows]
        return "\n".join([*lines, *(["", _markdown(self.note)] if self.note else [])]) + "\n"

    def _title(self, title: str) -> str:
        if not title:
            return ""
        heading = f'<th scope="rowgroup" colspan="{len(self.columns)}"><span>{escape(title)}</span></th>'
        return f'<tr class="group">{heading}</tr>'


def number(value: float) -> str:
    """Three digits without the zero before them, as .431."""
    if np.isnan(value):
        return "not judged"
    text = f"{abs(value):.3f}".removeprefix("0")
    return f"−{text}" if value < 0 and text != ".000" else text


def interval(estimate: Estimate) -> str:
    """The ends of a 95 % interval; a dash would be read as a sign beside a negative end."""
    if np.isnan(estimate.low):
        return ""
    return f"{number(estimate.low)}{' to ' if estimate.low < 0 else '–'}{number(estimate.high)}"


def estimated(estimate: Estimate | None, with_interval: bool = True) -> Cell:
    """A cell that says so where there is nothing."""
    if estimate is None:
        return absent()
    return Cell(number(estimate.mean), interval(estimate) if with_interval else "")


def absent(can_run: bool = True) -> Cell:
    """A cell of a system without rows."""
    return Cell(NOT_RUN if can_run else NOT_FOR_IT, muted=True)


def seeds_told(counts: Collection[int]) -> str:
    """How many seeds there are, as "1 to 3 seeds"."""
    least, most = min(counts), max(counts)
    return f"{least} seed{'' if most == 1 else 's'}" if least == most else f"{least} to {most} seeds"


def fewer_seeds(counts: Collection[int], most: int) -> list[str]:
    """The same where some are less than `most`, for beside a row; else nothing."""
    return [seeds_told(counts)] if min(counts) < most else []


Column = tuple[str, Callable[[list[Row]], Estimate | None], bool]
"""Its title, its value of a system's rows, and whether the interval is shown."""


def system_table(
    caption: str,
    columns: list[Column],
    rows: list[Row],
    expected: tuple[Group, ...] = (),
    note: str = "",
    unfit: Collection[str] = (),
) -> Table:
    """A line a system, in groups, the best of each column bold; missing systems of `expected` have lines too.

    Those of `unfit` are not for the network. Who has fewer seeds than the most of the table says so.
    """
    most_seeds = max((row.seeds for row in rows), default=0)
    of_system = {name: list(group) for name, group in groupby(rows, key=lambda row: row.key.system)}
    lines: dict[int, list[tuple[int, Line]]] = {}
    ours = [group for group in of_system.values() if competes(group[0])]
    best = [max((_mean(value(group)) for group in ours), default=-np.inf) for _, value, _ in columns]
    for system, group in of_system.items():
        at, cells = placed(system), []
        for (_, value, shown), top in zip(columns, best, strict=True):
            estimate = value(group)
            cell = estimated(estimate, shown)
            is_best = competes(group[0]) and estimate is not None and number(estimate.mean) == number(top)
            cells.append(replace(cell, best=is_best))
        beside = [*filter(None, [detail(group[0])]), *fewer_seeds([row.seeds for row in group], most_seeds)]
        lines.setdefault(at.group, []).append((at.place, Line(at.label, ", ".join(beside), cells)))
    there = {(index, line.label) for index, group in lines.items() for _, line in group}
    for wanted in expected:
        index = GROUPS.index(wanted)
        for place, (name, label) in enumerate(wanted.systems.items()):
            if (index, label) not in there:
                line = Line(label, "", [absent(name not in unfit) for _ in columns])
                lines.setdefault(index, []).append((place, line))
    groups = [
        (GROUPS[index].title, [line for _, line in sorted(lines[index], key=lambda one: one[0])])
        for index in sorted(lines)
    ]
    return Table(caption, ["System", *(title for title, _, _ in columns)], groups, note)


def all_metrics() -> list[Column]:
    """A column for every metric, of systems that have one row."""
    return [(label, _first(metric), metric in _WITH_INTERVAL) for metric, label in LABELS.items()]


def _first(metric: str) -> Callable[[list[Row]], Estimate | None]:
    return lambda rows: rows[0].of[metric]


def _mean(estimate: Estimate | None) -> float:
    return -np.inf if estimate is None or np.isnan(estimate.mean) else estimate.mean


def _html_line(line: Line) -> str:
    small = f" <small>{escape(line.detail)}</small>" if line.detail else ""
    return f'<tr><th scope="row">{escape(line.label)}{small}</th>{"".join(map(_html_cell, line.cells))}</tr>'


def _html_cell(cell: Cell) -> str:
    text = f"<strong>{escape(cell.text)}</strong>" if cell.best else escape(cell.text)
    small = f"<small>{escape(cell.small)}</small>" if cell.small else ""
    opening = '<td class="muted">' if cell.muted else "<td>"
    return f"{opening}{text}{small}</td>"


def _pipes(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _markdown(text: str) -> str:
    for special in "\\|*_<`":
        text = text.replace(special, f"\\{special}")
    return text.replace("\n", " ")


def _markdown_label(line: Line) -> str:
    return _markdown(line.label) + (f" ({_markdown(line.detail)})" if line.detail else "")


def _markdown_cell(cell: Cell) -> str:
    text = f"**{_markdown(cell.text)}**" if cell.best else _markdown(cell.text)
    return text + (f" ({_markdown(cell.small)})" if cell.small else "")
