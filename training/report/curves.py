"""Training by epoch, from the runs of all seeds."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from training.results import number_or_none
from training.runs import Key, Run

_FIELDS = ("loss", "seconds", "auc")


def curves_json(groups: dict[Key, list[Run]]) -> list[dict[str, Any]]:
    """`curve` is by epoch, the mean over seeds, up to the shortest seed's last one; the rest is of whole trainings."""
    return [{**key._asdict(), "curve": _mean_curve(group), **_whole(group)} for key, group in groups.items()]


def _mean_curve(group: list[Run]) -> list[dict[str, float | None]]:
    """`elapsed` is the seconds up to an epoch's end."""
    curve, elapsed = [], 0.0
    for points in zip(*(run.curve for run in group), strict=False):
        of = {field: _mean(point.get(field, np.nan) for point in points) for field in _FIELDS}
        elapsed += of["seconds"]
        values = {name: number_or_none(value) for name, value in {**of, "elapsed": elapsed}.items()}
        curve.append({"epoch": int(points[0]["epoch"]), **values})
    return curve


def _whole(group: list[Run]) -> dict[str, Any]:
    """Each seed's own first, last and best epoch, then the mean over seeds."""
    curves = [run.curve for run in group if run.curve]
    points = [point for curve in curves for point in curve]
    means = {
        "first_loss": _mean(curve[0].get("loss", np.nan) for curve in curves),
        "last_loss": _mean(curve[-1].get("loss", np.nan) for curve in curves),
        "best_auc": _mean(_best_auc(curve) for curve in curves),
        "seconds_an_epoch": _mean(point.get("seconds", np.nan) for point in points),
        "seconds": _mean(run.seconds for run in group),
    }
    return {
        "seeds": len(group),
        "epochs": [len(run.curve) for run in group],
        **{name: number_or_none(value) for name, value in means.items()},
    }


def _best_auc(curve: list[dict[str, float]]) -> float:
    """What training keeps: the best on validation lists."""
    known = [point["auc"] for point in curve if not np.isnan(point.get("auc", np.nan))]
    return max(known, default=np.nan)


def _mean(values: Iterable[float]) -> float:
    told = list(values)
    return float(np.mean(told)) if told else np.nan
