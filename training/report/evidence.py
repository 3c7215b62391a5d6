"""Everything that the page says in numbers, read once, and the same as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.report.curves import curves_json
from training.report.lineup import (
    GROUPS,
    NETWORKS,
    PAPER,
    PAPER_AMNL,
    SINGLE_FACETS,
    TOLD_IN_TEST,
    headline,
    placed,
    plain,
)
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
from training.runs import Key, Run, common_settings, diverged, not_for_network, read_runs, unfinished
from training.systems import IN_TEST


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
    not_for_network: set[tuple[str, str, str]]
    curves: list[dict[str, Any]]
    differences: list[Difference] = field(default_factory=list)

    @classmethod
    def read(cls, runs: Path) -> "Evidence":
        """All that is finished under `runs`."""
        groups = read_runs(runs)
        return cls(
            groups=groups,
            rows=collect(runs),
            parts=breakdowns(runs),
            unfinished=unfinished(runs),
            diverged=diverged(runs),
            not_for_network=not_for_network(runs),
            curves=curves_json(groups),
        )

    def main(self, network: str, protocol: str = "primary", split: int | None = None) -> list[Row]:
        """Rows of one dimension a system, in the order of the tables."""
        rows = [row for row in self.rows if (row.key.network, row.key.protocol) == (network, protocol)]
        return [row for row in headline(rows) if split in (None, row.key.split)]

    def networks(self) -> list[str]:
        """Those of the project, run or not, then whatever else was run."""
        return [*NETWORKS, *sorted({row.key.network for row in self.rows} - set(NETWORKS))]

    def unfit(self, network: str, protocol: str = "primary") -> set[str]:
        """Systems that cannot be run there, by their names without capitals and punctuation."""
        of = {plain(system) for *where, system in self.not_for_network if where == [network, protocol]}
        return of | {TOLD_IN_TEST[system] for system in of & TOLD_IN_TEST.keys()}

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
        """What was run, by network and protocol. Placebos in the test alone are AMNL's training, not runs."""
        told = []
        for network, protocol in sorted({row.key[:2] for row in self.rows}):
            rows = [row for row in self.rows if row.key[:2] == (network, protocol)]
            runs = [run for row in rows for run in self.groups[row.key]]
            trained = [run for run in runs if run.key.system not in IN_TEST]
            told.append(
                {
                    "network": network,
                    "protocol": protocol,
                    "systems": len({row.key.system for row in rows}),
                    "runs": len(trained),
                    "seeds": sorted({row.seeds for row in rows}),
                    "users": {str(row.key.split): row.users for row in rows},
                    "seconds": sum(run.seconds for run in trained),
                    "git_revisions": sorted({run.git_revision for run in runs}),
                    "backbones": sorted({run.backbone for run in runs if run.backbone}),
                    "first_made_at": min(run.made_at for run in runs),
                    "last_made_at": max(run.made_at for run in runs),
                }
            )
        return told

    def json(self) -> dict[str, Any]:
        """Ask last: it has the differences that were asked for until then."""
        shown = {row.key for row in headline(self.rows)}
        return {
            "results": results_json(row for row in self.rows if row.key in shown),
            "other_dimensions": results_json(row for row in self.rows if row.key not in shown),
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
    """The best by `metric` of the systems without training, the paper's baselines and today's anchors.

    AMNL, its parts, variants and placebos, systems that nobody foresaw, and ceilings do not count.
    """
    return _best((row for row in rows if placed(row.key.system).group < GROUPS.index(PAPER_AMNL)), metric)


def best_facet(rows: list[Row], metric: str) -> Row | None:
    """The better by `metric` of AMNL's facets alone."""
    return _best((row for row in rows if plain(row.key.system) in SINGLE_FACETS), metric)


def _best(rows: Iterable[Row], metric: str) -> Row | None:
    return max((row for row in rows if row.of[metric].mean >= 0), key=lambda row: row.of[metric].mean, default=None)
