"""The paper's two figures on our runs, each with its values as a table."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.report.lineup import AMNL, PAPER_AMNL, placed, plain
from training.report.plots import Curve, panel
from training.report.tables import COMPARED, LABELS, Cell, Line, Table, estimated, fewer_seeds, number, seeds_told
from training.results import Row
from training.runs import Key

SERIES = [*reversed(AMNL.systems), *reversed(PAPER_AMNL.systems)]
"""Who is drawn: AMNL and its ablations, first as this project trains them, then as the paper does."""


@dataclass(frozen=True)
class Figure:
    """Panels as SVG under one legend, and what they show as a table; without panels the caption says why.

    `labels` are those of the legend, by place in the order of colours; `name` is that of its file.
    """

    name: str
    caption: str
    labels: list[tuple[int, str]]
    panels: list[str]
    table: Table | None


def dimensions(rows: list[Row]) -> Figure:
    """P@1, P@3 and AUC against d, for who was run at two dimensions or more."""
    of_series: dict[int, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.key.dim):
        if plain(row.key.system) in SERIES:
            of_series.setdefault(SERIES.index(plain(row.key.system)), []).append(row)
    drawn = {series: of_series[series] for series in sorted(of_series) if len(of_series[series]) > 1}
    if not drawn:
        return Figure("figure-3", "Figure 3. Dimensions: not run (nobody at two dimensions or more).", [], [], None)
    ticks = sorted({float(row.key.dim) for group in drawn.values() for row in group})
    panels = []
    for metric in COMPARED:
        curves = [
            Curve(
                series,
                _label(group[0].key),
                [float(row.key.dim) for row in group],
                [row.of[metric].mean for row in group],
                [row.of[metric].low for row in group],
                [row.of[metric].high for row in group],
            )
            for series, group in drawn.items()
        ]
        alt = f"{LABELS[metric]} by dimension. {_points(curves)}"
        panels.append(panel(f"dimensions-{metric.replace('@', '')}", LABELS[metric], "d", curves, alt, ticks))
    points = [row for group in drawn.values() for row in group]
    seeds = [row.seeds for row in points]
    lines = [
        Line(_label(row.key), _beside(row.key.dim, row.seeds, max(seeds)), [estimated(row.of[m]) for m in COMPARED])
        for row in points
    ]
    table = Table("Figure 3 as a table", ["System", *(LABELS[metric] for metric in COMPARED)], [("", lines)])
    caption = (
        "Figure 3. Dimensions, made network, 80 % training. Bands are 95 % intervals over users. Each point is the "
        f"mean of {seeds_told(seeds)}{'; the values say which are of fewer' if len(set(seeds)) > 1 else ''}."
    )
    return Figure("figure-3", caption, _labels(drawn), panels, table)


def epochs(curves: list[dict[str, Any]]) -> Figure:
    """The training objective, validation AUC and time by epoch, means over seeds; curves as `curves_json` has them."""
    of_series = {SERIES.index(plain(told["system"])): told for told in curves if plain(told["system"]) in SERIES}
    drawn = {series: of_series[series] for series in sorted(of_series) if of_series[series]["curve"]}
    if not drawn:
        return Figure("figure-4", "Figure 4. Objective and time by epoch: not run.", [], [], None)
    panels = []
    for field, title in (("loss", "Objective"), ("auc", "Validation AUC"), ("elapsed", "Seconds since the start")):
        lines = [
            Curve(
                series,
                placed(told["system"]).label,
                [float(point["epoch"]) for point in told["curve"]],
                [np.nan if point[field] is None else point[field] for point in told["curve"]],
            )
            for series, told in drawn.items()
        ]
        ends = "; ".join(f"{line.label} {_value(field, line.y[0])} to {_value(field, line.y[-1])}" for line in lines)
        panels.append(
            panel(f"epochs-{field}", title, "epoch", lines, f"{title} from the first epoch to the last: {ends}.")
        )
    table = Table(
        "Figure 4 as a table",
        [
            "System",
            "Epochs",
            "Objective, first",
            "Objective, last",
            "Best validation AUC",
            "Seconds an epoch",
            "Seconds",
        ],
        [("", [_epochs_line(told, max(one["seeds"] for one in drawn.values())) for told in drawn.values()])],
        "Of each seed's whole training, then the mean over seeds.",
    )
    caption = (
        "Figure 4. Objective and time by epoch, made network, 80 % training, means over seeds up to the shortest "
        "seed's last epoch. The paper tells of 22,881 updates an epoch and of 9 epochs in under 50 minutes, on its "
        "data and machine."
    )
    return Figure("figure-4", caption, _labels(drawn), panels, table)


def _epochs_line(told: dict[str, Any], most_seeds: int) -> Line:
    cells = [
        " to ".join(str(count) for count in sorted({min(told["epochs"]), max(told["epochs"])})),
        _value("loss", told["first_loss"]),
        _value("loss", told["last_loss"]),
        _value("auc", told["best_auc"]),
        _value("elapsed", told["seconds_an_epoch"]),
        _value("elapsed", told["seconds"]),
    ]
    beside = _beside(told["dim"], told["seeds"], most_seeds)
    return Line(placed(told["system"]).label, beside, [Cell(text) for text in cells])


def _beside(dim: int, seeds: int, most_seeds: int) -> str:
    return ", ".join([f"d {dim}", *fewer_seeds([seeds], most_seeds)])


def _value(field: str, value: float | None) -> str:
    if value is None or np.isnan(value):
        return "not said"
    return f"{value:.1f}" if field == "elapsed" else number(value)


def _points(curves: list[Curve]) -> str:
    return " ".join(
        f"{curve.label}: {', '.join(f'd {x:g} {number(y)}' for x, y in zip(curve.x, curve.y, strict=True))}."
        for curve in curves
    )


def _labels(drawn: dict[int, Any]) -> list[tuple[int, str]]:
    return [(series, {**AMNL.systems, **PAPER_AMNL.systems}[SERIES[series]]) for series in drawn]


def _label(key: Key) -> str:
    return placed(key.system).label
