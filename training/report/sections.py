"""What the page says, section by section."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from training.report.comparisons import ablations, beside_the_paper, glance, what_amnl_uses
from training.report.evidence import Evidence
from training.report.figures import Figure, dimensions, epochs
from training.report.lineup import GROUPS, PLACEBOS, VARIANTS, group_of, name_of
from training.report.notes import BACKBONES, backbone_note, cold_note, missing_note, protocol_note
from training.report.tables import COMPARED, LABELS, Cell, Column, Line, Table, all_metrics, system_table
from training.results import Estimate, Part, Row

SPLITS = (60, 70, 80)
_DIVISIONS = {
    "tweets": "by the share of a list's tweets that were seen in training (warm: half or more)",
    "history": "by the user's retweets in training",
    "followees": "by the user's followees",
}

_RUN_FACTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "Systems": lambda one: str(one["systems"]),
    "Runs": lambda one: str(one["runs"]),
    "Seeds a system": lambda one: " to ".join(str(count) for count in sorted({one["seeds"][0], one["seeds"][-1]})),
    "Judged users, by share of training": lambda one: ", ".join(
        f"{users:,} ({split} %)" for split, users in one["users"].items()
    ),
    "Image backbone": lambda one: ", ".join(BACKBONES.get(name, name) for name in one["backbones"]) or "none",
    "Time of all runs": lambda one: str(timedelta(seconds=round(one["seconds"]))),
    "Made": lambda one: " to ".join(sorted({one["first_made_at"][:10], one["last_made_at"][:10]})),
    "Code": lambda one: ", ".join(map(_revision, one["git_revisions"])),
}


def _revision(told: str) -> str:
    commit, dirty, _ = told.partition("-dirty")
    return commit[:10] + dirty


@dataclass(frozen=True)
class Folded:
    """What is shown on demand."""

    title: str
    blocks: list["Block"]


Block = str | Table | Figure | Folded


@dataclass(frozen=True)
class Section:
    """A heading and what is under it."""

    name: str
    title: str
    blocks: list[Block]


def sections(evidence: Evidence) -> list[Section]:
    """The page from top to bottom."""
    curves = [told for told in evidence.curves if _key(told) in {row.key for row in evidence.main("made", split=80)}]
    at_80 = [row for row in evidence.rows if row.key[:3] == ("made", "primary", 80)]
    return [
        Section("glance", "At a glance", [glance(evidence)]),
        Section("runs", "What was run", _runs(evidence)),
        Section("made", "Made network, primary protocol", [*_made(evidence)]),
        Section("ablations", "Ablations", [*ablations(evidence), what_amnl_uses(evidence)]),
        Section("figures", "Dimensions and epochs", [dimensions(at_80), epochs(curves)]),
        Section("paper", "Beside the paper", [beside_the_paper(evidence)]),
        Section("public", "Public networks", _public(evidence)),
        Section("secondary", "Secondary protocol: a reconstruction", _secondary(evidence)),
        Section("breakdowns", "Who it works for", _breakdowns(evidence)),
    ]


def _runs(evidence: Evidence) -> list[Block]:
    told = sorted(evidence.summary(), key=lambda one: evidence.networks().index(one["network"]))
    columns = ["About", *(f"{name_of(one['network'])}, {one['protocol']}" for one in told)]
    lines = [Line(label, "", [Cell(say(one)) for one in told]) for label, say in _RUN_FACTS.items()]
    blocks: list[Block] = []
    if note := backbone_note({name for one in told for name in one["backbones"]}):
        blocks.append(note)
    blocks.append(Table("Runs", columns, [("", lines)], wraps=True) if told else "Nothing was run.")
    blocks += filter(None, (protocol_note(one["network"]) for one in told if one["protocol"] == "primary"))
    blocks.append(
        "Values are means over users, after those over seeds; beneath them stands the 95 % bootstrap interval over "
        "users. A system with fewer seeds than others of its table says how many; one says all of a system that draws "
        "nothing. The best value of a column is bold; ceilings and placebos do not compete. Settings are those of "
        "training/tuned.json, where `python -m training tune` leaves the best of eight trials a system on validation "
        "lists; the made network's are picked on its 60 % split for all splits, so that no test is looked at."
    )
    if evidence.unfinished:
        blocks.append(f"Not finished and left out: {', '.join(evidence.unfinished)}.")
    if evidence.diverged:
        blocks.append(f"Diverged and left out: {', '.join(evidence.diverged)}.")
    if differ := evidence.settings_that_differ():
        blocks.append(f"Seeds were not run with the same settings: {'; '.join(differ)}.")
    return blocks


def _made(evidence: Evidence) -> list[Block]:
    note = cold_note(evidence.main("made"))
    return [*([note] if note else []), *_by_split(evidence)]


def _by_split(evidence: Evidence) -> list[Table]:
    """Tables 1 to 3."""
    whole = tuple(group for group in GROUPS if group not in (VARIANTS, PLACEBOS))
    rows = [row for row in evidence.main("made") if group_of(row) in whole]
    return [
        system_table(
            f"Table {place}. {LABELS[metric]} by share of training, made network",
            [(f"{split} %", _at(split, metric), True) for split in SPLITS],
            rows,
            whole,
            unfit=evidence.unfit("made"),
        )
        for place, metric in enumerate(COMPARED, start=1)
    ]


def _public(evidence: Evidence) -> list[Block]:
    blocks: list[Block] = []
    for network in evidence.networks()[1:]:
        rows = evidence.main(network)
        if note := cold_note(rows):
            blocks.append(note)
        table = _all_of(f"{name_of(network)}, primary protocol", rows, evidence.unfit(network))
        blocks.append(table if rows else f"{name_of(network)}: not run.")
    return blocks


def _secondary(evidence: Evidence) -> list[Block]:
    blocks: list[Block] = [
        "A reconstruction of how the paper seems to have judged, not its protocol as published: users split by "
        "their own time, two sampled negatives a test retweet, users without negatives kept. Precision at K is over "
        "the list's length where that is less; AUC, NDCG and MRR are over users with negatives. Lists that are all "
        "positive are included: the row Random says what chance scores so."
    ]
    networks = sorted({row.key.network for row in evidence.rows if row.key.protocol == "secondary"})
    for network in networks:
        rows = evidence.main(network, "secondary")
        for split in sorted({row.key.split for row in rows}):
            caption = f"{name_of(network)}, secondary protocol (reconstruction), {split} % training"
            of_split = [row for row in rows if row.key.split == split]
            blocks.append(_all_of(caption, of_split, evidence.unfit(network, "secondary")))
    return blocks if networks else [*blocks, "The secondary protocol was not run."]


def _breakdowns(evidence: Evidence) -> list[Block]:
    blocks: list[Block] = []
    for network in evidence.networks():
        rows = evidence.main(network, split=80)
        tables = [
            _breakdown(evidence.parts, rows, f"{name_of(network)}: {LABELS[metric]} {_DIVISIONS[by]}", by, metric)
            for metric in ("auc", "p@1")
            for by in _DIVISIONS
        ]
        blocks.append(Folded(name_of(network), [*tables]) if rows else f"{name_of(network)} at 80 % training: not run.")
    return blocks


def _breakdown(parts: list[Part], rows: list[Row], caption: str, by: str, metric: str) -> Table:
    keys = {row.key for row in rows}
    of = {(part.key, part.group): part for part in parts if part.by == by and part.key in keys}
    users = {group: max(part.users for (_, name), part in of.items() if name == group) for _, group in of}

    def column(group: str) -> Callable[[list[Row]], Estimate | None]:
        def value(of_system: list[Row]) -> Estimate | None:
            part = of.get((of_system[0].key, group))
            return part.of[metric] if part else None

        return value

    columns: list[Column] = [(f"{group} ({count:,} users)", column(group), True) for group, count in users.items()]
    return system_table(caption, columns, rows)


def _all_of(caption: str, rows: list[Row], unfit: set[str]) -> Table:
    return system_table(caption, all_metrics(), rows, note=missing_note(rows, unfit))


def _at(split: int, metric: str) -> Callable[[list[Row]], Estimate | None]:
    return lambda rows: next((row.of[metric] for row in rows if row.key.split == split), None)


def _key(told: dict[str, object]) -> tuple[object, ...]:
    return told["network"], told["protocol"], told["split"], told["system"], told["dim"]
