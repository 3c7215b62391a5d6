"""The paper's two figures on our runs, each with its values as a table."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.report.lineup import AMNL, PAPER_AMNL, placed, plain
from training.report.plots import Curve, panel
from training.report.tables import LABELS, Cell, Line, Table, estimated, number
from training.results import Row, number_or_none
from training.runs import Key, Run

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
    for metric in ("p@1", "p@3", "auc"):
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
    lines = [
        Line(_label(row.key), f"d {row.key.dim}", [estimated(row.of[metric]) for metric in ("p@1", "p@3", "auc")])
        for group in drawn.values()
        for row in group
    ]
    table = Table("Figure 3 as a table", ["System", "P@1", "P@3", "AUC"], [("", lines)])
    caption = "Figure 3. Dimensions, made network, 80 % training. Bands are 95 % intervals over users."
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
        [("", [_epochs_line(told) for told in drawn.values()])],
    )
    caption = (
        "Figure 4. Objective and time by epoch, made network, 80 % training, means over seeds. The paper tells of "
        "22,881 updates an epoch and of 9 epochs in under 50 minutes, on its data and machine."
    )
    return Figure("figure-4", caption, _labels(drawn), panels, table)


def curves_json(groups: dict[Key, list[Run]]) -> list[dict[str, Any]]:
    """Means over seeds by epoch, up to the last epoch that all seeds had; `elapsed` is the seconds up to there."""
    told: list[dict[str, Any]] = []
    for key, group in groups.items():
        curve, elapsed = [], 0.0
        for points in zip(*(run.curve for run in group), strict=False):
            of = {
                field: float(np.mean([point.get(field, np.nan) for point in points]))
                for field in ("loss", "seconds", "auc")
            }
            elapsed += of["seconds"]
            values = {name: number_or_none(value) for name, value in {**of, "elapsed": elapsed}.items()}
            curve.append({"epoch": int(points[0]["epoch"]), **values})
        told.append(
            {
                **key._asdict(),
                "curve": curve,
                "epochs": len(curve),
                "best_auc": max((point["auc"] for point in curve if point["auc"] is not None), default=None),
                "seconds_an_epoch": elapsed / len(curve) if curve else None,
                "seconds": float(np.mean([run.seconds for run in group])),
            }
        )
    return told


def _epochs_line(told: dict[str, Any]) -> Line:
    curve = told["curve"]
    cells = [
        str(told["epochs"]),
        _value("loss", curve[0]["loss"]),
        _value("loss", curve[-1]["loss"]),
        _value("auc", told["best_auc"]),
        _value("elapsed", told["seconds_an_epoch"]),
        _value("elapsed", told["seconds"]),
    ]
    return Line(placed(told["system"]).label, f"d {told['dim']}", [Cell(text) for text in cells])


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
