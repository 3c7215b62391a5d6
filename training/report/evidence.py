"""Everything that the page says in numbers, read once, and the same as JSON."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.report.figures import curves_json
from training.report.lineup import GROUPS, NETWORKS, PAPER, PAPER_AMNL, headline, placed, plain
from training.results import (
    Estimate,
    Part,
    Row,
    breakdowns,
    breakdowns_json,
    collect,
    difference,
    estimate_json,
    results_json,
)
from training.runs import Key, Run, common_settings, diverged, read_runs, unfinished

COIN_FLIP = {"p@1": 0.61, "p@3": 0.62, "auc": 0.50}
"""What chance scores under the secondary protocol at the paper's counts."""


@dataclass(frozen=True)
class Difference:
    """What `a` is better by than `b`, in one metric, over the same users."""

    a: Row
    b: Row
    metric: str
    by: Estimate


@dataclass
class Evidence:
    """Rows of all dimensions, and those of one dimension a system (`main`); differences are noted as they are asked."""

    groups: dict[Key, list[Run]]
    rows: list[Row]
    parts: list[Part]
    unfinished: list[str]
    diverged: list[str]
    curves: list[dict[str, Any]]
    differences: list[Difference] = field(default_factory=list)

    @classmethod
    def read(cls, runs: Path) -> "Evidence":
        """All that is finished under `runs`."""
        groups = read_runs(runs)
        return cls(groups, collect(runs), breakdowns(runs), unfinished(runs), diverged(runs), curves_json(groups))

    def main(self, network: str, protocol: str = "primary", split: int | None = None) -> list[Row]:
        """Rows of one dimension a system, in the order of the tables."""
        rows = [row for row in self.rows if (row.key.network, row.key.protocol) == (network, protocol)]
        return [row for row in headline(rows) if split in (None, row.key.split)]

    def networks(self) -> list[str]:
        """Those of the project, run or not, then whatever else was run."""
        return [*NETWORKS, *sorted({row.key.network for row in self.rows} - set(NETWORKS))]

    def difference(self, a: Row, b: Row, metric: str) -> Estimate:
        """a - b, paired by user."""
        by = difference(self.groups[a.key], self.groups[b.key], metric)
        self.differences.append(Difference(a, b, metric, by))
        return by

    def settings_that_differ(self) -> list[str]:
        """What seeds of a system were not run alike in."""
        told = []
        for key, group in self.groups.items():
            common = common_settings(group)
            names = [name for name in common if any(run.settings.get(name) != common[name] for run in group)]
            if names:
                told.append(
                    f"{placed(key.system).label}, {key.network}, {key.split} %, d {key.dim}: {', '.join(names)}"
                )
        return told

    def summary(self) -> list[dict[str, Any]]:
        """What was run, by network and protocol."""
        told = []
        for network, protocol in sorted({row.key[:2] for row in self.rows}):
            rows = [row for row in self.rows if row.key[:2] == (network, protocol)]
            runs = [run for row in rows for run in self.groups[row.key]]
            told.append(
                {
                    "network": network,
                    "protocol": protocol,
                    "systems": len({row.key.system for row in rows}),
                    "runs": len(runs),
                    "seeds": sorted({row.seeds for row in rows}),
                    "users": {str(row.key.split): row.users for row in rows},
                    "seconds": sum(run.seconds for run in runs),
                    "git_revisions": sorted({run.git_revision for run in runs}),
                    "backbones": sorted({run.backbone for run in runs if run.backbone}),
                    "first_made_at": min(run.made_at for run in runs),
                    "last_made_at": max(run.made_at for run in runs),
                }
            )
        return told

    def json(self) -> dict[str, Any]:
        """Ask last: it has the differences that were asked for until then."""
        return {
            "results": results_json(self.rows),
            "breakdowns": breakdowns_json(self.parts),
            "p_at_3_over_min": [
                {**row.key._asdict(), **estimate_json("p_at_3_over_min", row.of["p@3/min"])} for row in self.rows
            ],
            "differences": [
                {
                    "a": one.a.key._asdict(),
                    "b": one.b.key._asdict(),
                    "metric": one.metric,
                    **estimate_json("difference", one.by),
                }
                for one in self.differences
            ],
            "curves": self.curves,
            "paper": {
                "at 80 % of its own data": PAPER,
                "chance, secondary protocol, its counts": COIN_FLIP,
                "time": {"updates_an_epoch": 22_881, "epochs": 9, "minutes_at_most": 50},
            },
            "runs": self.summary(),
            "unfinished": self.unfinished,
            "diverged": self.diverged,
        }


def find(rows: list[Row], name: str) -> Row | None:
    """A system's first row, by its name without capitals and punctuation."""
    return next((row for row in rows if plain(row.key.system) == name), None)


def strongest(rows: list[Row], metric: str) -> Row | None:
    """The best by `metric` of those that are neither AMNL nor know the truth."""
    others = [row for row in rows if placed(row.key.system).group < GROUPS.index(PAPER_AMNL)]
    return max((row for row in others if row.of[metric].mean >= 0), key=lambda row: row.of[metric].mean, default=None)
