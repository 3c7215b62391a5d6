"""The versions of a deployment as a page: what they are, how they did, how they were trained."""

from typing import Any

from training.report.figures import Figure
from training.report.page import page
from training.report.plots import SERIES, Curve, panel
from training.report.sections import Section
from training.report.tables import Cell, Line, Table, number

TITLE = "Model versions"
_LEDE = (
    "Every version that this deployment has, the one activated last first: how it ranks the newest retweets, which "
    "were held out, how it did beside the version that served then, and how it was trained."
)
_NOTHING = Cell("-")


def versions_page(told: list[dict[str, Any]]) -> str:
    """HTML; `told` are versions as training/history.py has them, the one activated last first."""
    sections = [
        Section("versions", "Versions", [_held_out(told)]),
        Section("settings", "Settings that differ", [_settings(told)]),
        Section("training", "Training", [_training(told)]),
    ]
    return page(sections, TITLE, _LEDE)


def _held_out(told: list[dict[str, Any]]) -> Table:
    lines = []
    for one in told:
        of = one["metrics"].get("amnl")
        metrics = [Cell(number(of[name])) if of else _NOTHING for name in ("p@1", "p@3", "auc")]
        retweets = Cell(f"{one['data']['retweets']:,}") if "data" in one else _NOTHING
        created = Cell(str(one["created_at"])[:16].replace("T", " ")) if "created_at" in one else _NOTHING
        lines.append(
            Line(one["version"], one["status"], [created, retweets, *metrics, _gate(one["metrics"].get("gate"))])
        )
    columns = ["Version", "Made (UTC)", "Retweets", "P@1", "P@3", "AUC", "Gain in AUC"]
    note = (
        "Gain in AUC: beside the version that served then, both on the same lists, as they are served, with the 95 % "
        "interval over users. The other metrics are each of the version's own held-out period, so that they compare "
        "only roughly."
    )
    return Table("Held-out retweets", columns, [("", lines)], note)


def _gate(gate: dict[str, Any] | None) -> Cell:
    if gate is None:
        return _NOTHING
    if "difference" not in gate:
        return Cell("not compared", "forced" if gate["force"] else "")
    forced = ", forced" if gate["force"] and not gate["passed"] else ""
    ends = f"{number(gate['difference_low'])} to {number(gate['difference_high'])}"
    return Cell(number(gate["difference"]), f"{ends}{forced}")


def _settings(told: list[dict[str, Any]]) -> Table | str:
    known = [one for one in told if "settings" in one]
    names = sorted({name for one in known for name in one["settings"]})
    differ = [name for name in names if len({str(one["settings"].get(name)) for one in known}) > 1]
    if not differ:
        return "All versions whose folders are there were trained with the same settings."
    lines = [Line(one["version"], "", [Cell(str(one["settings"].get(name))) for name in differ]) for one in known]
    return Table("Settings that are not the same in all versions", ["Version", *differ], [("", lines)])


def _training(told: list[dict[str, Any]]) -> Figure:
    drawn = [one for one in told if one["curve"]][:SERIES]
    if not drawn:
        return Figure("training", "No version has its training by epoch here.", [], [], None)
    panels = []
    for field, title in (("auc", "Validation AUC"), ("loss", "Objective")):
        curves = [
            Curve(place, one["version"], [float(p["epoch"]) for p in one["curve"]], [p[field] for p in one["curve"]])
            for place, one in enumerate(drawn)
        ]
        ends = "; ".join(f"{curve.label} {number(curve.y[0])} to {number(curve.y[-1])}" for curve in curves)
        panels.append(
            panel(f"training-{field}", title, "epoch", curves, f"{title} from the first epoch to the last: {ends}.")
        )
    lines = [
        Line(
            one["version"],
            "",
            [
                Cell(str(len(one["curve"]))),
                Cell(str(int(max(one["curve"], key=lambda point: point["auc"])["epoch"]))),
                Cell(number(max(point["auc"] for point in one["curve"]))),
                Cell(f"{sum(point['seconds'] for point in one['curve']):.0f}"),
            ],
        )
        for one in drawn
    ]
    table = Table(
        "Training as a table", ["Version", "Epochs", "Best epoch", "Its validation AUC", "Seconds"], [("", lines)]
    )
    caption = f"By epoch, the newest {len(drawn)} versions whose folders are there." if len(drawn) > 1 else "By epoch."
    return Figure("training", caption, [(place, one["version"]) for place, one in enumerate(drawn)], panels, table)
