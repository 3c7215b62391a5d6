"""Every number on the page is the one that the runs say, in the line and the column that it belongs in."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.made_runs import write_run
from tests.report_pages import Page, Report, captions, cells, everything, lines, report
from training.report.lineup import NETWORKS, PLACEBOS, VARIANTS, headline, placed
from training.report.tables import interval, number
from training.results import Estimate, collect

FIELDS = {"P@1": "p_at_1", "P@3": "p_at_3", "AUC": "auc", "NDCG@10": "ndcg_at_10", "MRR": "mrr"}
COMPARED = ("P@1", "P@3", "AUC")
MADE_AT_80 = ("made", "primary", 80)
ABSENT = ("not run", "not for this network")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return everything(tmp_path_factory.mktemp("full"))


def rows(told: Report, **key: Any) -> list[dict[str, Any]]:
    """Rows of results.json by some of their key."""
    return [row for row in told.json["results"] if {**row, **key} == row]


def text(row: dict[str, Any], field: str) -> str:
    """A value as cells have it: with its interval, where it has one."""
    if f"{field}_low" not in row:
        return number(row[field])
    ends = interval(Estimate(row[field], row[f"{field}_low"], row[f"{field}_high"]))
    return f"{number(row[field])} ({ends})"


def texts(told: Report, row: dict[str, Any]) -> dict[str, str]:
    """All metrics of a row by column."""
    names = ("network", "protocol", "split", "system", "dim")
    (over_min,) = [one for one in told.json["p_at_3_over_min"] if all(one[name] == row[name] for name in names)]
    shown = {column: text(row, field) for column, field in FIELDS.items()}
    return {**shown, "P@3/min": text(over_min, "p_at_3_over_min")}


def shown_of(told: Report, caption: str) -> dict[tuple[str, str], str]:
    """Cells that have something in them, by label and column."""
    return {
        (line.label, column): cell
        for line in lines(told, caption)
        for column, cell in line.cells.items()
        if cell not in ABSENT
    }


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("network", "protocol", "split", "system", "dim"))


def label(row: dict[str, Any]) -> str:
    return placed(row["system"]).label


def row_at_80(told: Report, network: str, system: str) -> dict[str, Any]:
    (row,) = rows(told, network=network, protocol="primary", split=80, system=system)
    return row


def alt(told: Report, name: str) -> str:
    """What a plot says to those who do not see it: the values that it draws."""
    (found,) = re.findall(rf'<title id="{name}-alt">([^<]+)</title>', told.html)
    return str(found)


def less(told: Report, a: dict[str, Any], b: dict[str, Any], field: str) -> str:
    """The difference in details.json as cells have it; its mean is that of the means, as all users are the same."""
    metric = field.replace("_at_", "@")
    found = [
        one
        for one in told.json["differences"]
        if (key_of(one["a"]), key_of(one["b"]), one["metric"]) == (key_of(a), key_of(b), metric)
    ]
    assert found[0]["difference"] == pytest.approx(a[field] - b[field])
    return text(found[0], "difference")


@pytest.mark.parametrize(("place", "column"), [(1, "P@1"), (2, "P@3"), (3, "AUC")])
def test_tables_1_to_3(full: Report, place: int, column: str) -> None:
    explain = {*VARIANTS.systems.values(), *PLACEBOS.systems.values()}
    told = [row for row in rows(full, network="made", protocol="primary") if label(row) not in explain]
    expected = {(label(row), f"{row['split']} %"): text(row, FIELDS[column]) for row in told}
    assert len(expected) == 13
    assert shown_of(full, f"Table {place}. {column} by share of training") == expected


@pytest.mark.parametrize(
    ("caption", "of", "systems"),
    [
        ("Table 4.", {"network": "made", "protocol": "primary", "split": 80}, ["amnl_i", "amnl", "amnl (product)"]),
        (
            "AMNL, its variants and its placebos",
            {"network": "made", "protocol": "primary", "split": 80},
            [
                "amnl",
                *("personal only", "social only"),
                *("permuted words", "rewired follows", "follows rewired in test"),
            ],
        ),
        ("HetRec LastFM, primary protocol", {"network": "lastfm"}, ["famf", "amnl"]),
        ("Made network, secondary protocol", {"protocol": "secondary"}, ["famf"]),
    ],
)
def test_tables_of_all_metrics(full: Report, caption: str, of: dict[str, Any], systems: list[str]) -> None:
    expected: dict[tuple[str, str], str] = {}
    for system in systems:
        (row,) = rows(full, system=system, **of)
        expected |= {(label(row), column): cell for column, cell in texts(full, row).items()}
    assert shown_of(full, caption) == expected


@pytest.mark.parametrize(
    ("network", "system", "other", "facet"),
    [
        ("made", "amnl", "famf", "social only"),
        ("made", "amnl (product)", "famf", "social only"),
        ("lastfm", "amnl", "famf", None),
    ],
)
def test_the_glance(full: Report, network: str, system: str, other: str, facet: str | None) -> None:
    """The strongest is FAMF: "odd <b>" is stronger, and so are AMNL's parts and the ceiling, but do not count."""
    ours = row_at_80(full, network, system)
    for column in COMPARED:
        shown = cells(full, "AMNL against", column, group=f"{NETWORKS[network]}: {label(ours)}")
        field = FIELDS[column]
        assert shown["AMNL"] == text(ours, field)
        strongest = row_at_80(full, network, other)
        assert shown["Strongest other"] == f"{number(strongest[field])} ({label(strongest)})"
        assert shown["AMNL less that other"] == less(full, ours, strongest, field)
        if facet:
            best = row_at_80(full, network, facet)
            assert shown["Best single facet"] == f"{number(best[field])} ({label(best)})"
            assert shown["AMNL less that facet"] == less(full, ours, best, field)
        else:
            assert shown["Best single facet"] == shown["AMNL less that facet"] == "not run"


def test_differences_between_amnl_and_its_parts(full: Report) -> None:
    pairs = [
        ("amnl", system) for system in ("amnl_i", *("personal only", "rewired follows", "follows rewired in test"))
    ]
    for a, b in [*pairs, ("rewired follows", "personal only")]:
        ours, other = (row_at_80(full, "made", system) for system in (a, b))
        caption = "What the other half adds" if b == "amnl_i" else "What AMNL uses"
        group = "" if b == "amnl_i" else "Made network"
        shown = cells(full, caption, f"{label(ours)} less {label(other)}", group=group)
        assert shown == {column: less(full, ours, other, FIELDS[column]) for column in COMPARED}


def test_the_papers_figures_are_beside_ours(full: Report) -> None:
    for name, system in (("AMNL", "amnl"), ("AMNL_i", "amnl_i")):
        told = {line.label: line.cells for line in lines(full, "The paper's own figures") if line.group == name}
        papers = full.json["paper"]["at 80 % of its own data"][name]
        assert told["Paper, its own data"] == {column: number(papers[column.lower()]) for column in COMPARED}
        trained = row_at_80(full, "made", system)
        assert told["Made network (as trained here)"] == {column: text(trained, FIELDS[column]) for column in COMPARED}
    product = row_at_80(full, "made", "amnl (product)")
    shown = cells(full, "The paper's own figures", "Made network (product link)", group="AMNL")
    assert shown == {column: text(product, FIELDS[column]) for column in COMPARED}
    best = row_at_80(full, "made", "famf")
    shown = cells(full, "The paper's own figures", "Made network", group="Best baseline")
    assert shown == {column: f"{number(best[FIELDS[column]])} (FAMF)" for column in COMPARED}


def test_figure_3(full: Report) -> None:
    (wide,) = [row for row in full.json["other_dimensions"] if row["system"] == "amnl"]
    points = {64: row_at_80(full, "made", "amnl"), 128: wide}
    for column in COMPARED:
        drawn = " ".join(f"d {dim} {number(row[FIELDS[column]])}," for dim, row in points.items()).strip(",")
        name = column.lower().replace("@", "")
        assert alt(full, f"dimensions-{name}") == f"{column} by dimension. AMNL: {drawn}."
    for beside, row in zip(("d 64", "d 128, 1 seed"), points.values(), strict=True):
        shown = cells(full, "Figure 3 as a table", "AMNL", beside=beside)
        assert shown == {column: text(row, FIELDS[column]) for column in COMPARED}


def test_figure_4(full: Report) -> None:
    """Of the runs that were written: AUC rises by .01 an epoch, the loss is .7 over the epoch, 2.5 seconds each."""
    told = [row["system"] for row in full.json["curves"] if row["system"].startswith("amnl") and row["split"] == 80]
    assert set(told) == {"amnl", "amnl_i", "amnl (product)"}
    assert alt(full, "epochs-loss").startswith("Objective from the first epoch to the last: AMNL .700 to .233; ")
    assert alt(full, "epochs-auc").startswith("Validation AUC from the first epoch to the last: AMNL .610 to .630; ")
    assert alt(full, "epochs-elapsed").endswith(": AMNL 2.5 to 7.5; AMNL_i 2.5 to 7.5; AMNL (product) 2.5 to 7.5.")
    (curve,) = [one["curve"] for one in full.json["curves"] if key_of(one) == ("made", "primary", 80, "amnl", 64)]
    assert [point["elapsed"] for point in curve] == [2.5, 5.0, 7.5]
    assert cells(full, "Figure 4 as a table", "AMNL (product)", beside="d 64, 1 seed")["Epochs"] == "3"


def test_seeds_that_stop_at_different_epochs(tmp_path: Path) -> None:
    """Seed 0 has 3 epochs of 4 seconds, seed 1 has 30 of 1 second; the plots have the 3 that both had."""
    write_run(tmp_path / "runs", seed=0, epochs=3, epoch_seconds=4, seconds=20)
    write_run(tmp_path / "runs", seed=1, epochs=30, epoch_seconds=1, seconds=50)
    told = report(tmp_path / "runs", tmp_path / "report")
    assert cells(told, "Figure 4 as a table", "AMNL") == {
        "Epochs": "3 to 30",
        "Objective, first": number(0.7),
        "Objective, last": number((0.7 / 3 + 0.7 / 30) / 2),
        "Best validation AUC": number((0.53 + 0.80) / 2),
        "Seconds an epoch": f"{(3 * 4 + 30 * 1) / 33:.1f}",
        "Seconds": "35.0",
    }
    (curve,) = told.json["curves"]
    assert curve["epochs"] == [3, 30]
    assert [point["elapsed"] for point in curve["curve"]] == [2.5, 5.0, 7.5]
    assert "means over seeds up to the shortest seed's last epoch" in told.markdown


def test_breakdowns(full: Report) -> None:
    divisions = {"tweets": "by the share", "history": "by the user's retweets", "followees": "by the user's followees"}
    for by, words in divisions.items():
        for column in ("AUC", "P@1"):
            told = lines(full, f"Made network: {column} {words}")
            parts = [part for part in full.json["breakdowns"] if (part["by"], key_of(part)[:3]) == (by, MADE_AT_80)]
            expected = {
                (label(part), f"{part['group']} ({part['users']} users)"): text(part, FIELDS[column])
                for part in parts
                if (part["system"], part["dim"]) != ("amnl", 128)
            }
            assert {(line.label, name): cell for line in told for name, cell in line.cells.items()} == expected


def test_what_was_run(tmp_path: Path) -> None:
    """Placebos in the test alone have AMNL's seconds, which were spent once."""
    for system, seed, seconds in (("amnl", 0, 100), ("amnl", 1, 200), ("famf", 0, 3_000)):
        write_run(tmp_path / "runs", system, seed=seed, seconds=seconds)
    for seed, seconds in enumerate((100, 200)):
        write_run(tmp_path / "runs", "words permuted in test", seed=seed, seconds=seconds)
    told = report(tmp_path / "runs", tmp_path / "report")
    shown = {line.label: line.cells["Made network, primary"] for line in lines(told, "Runs")}
    assert shown["Time of all runs"] == str(timedelta(seconds=3_300))
    assert (shown["Systems"], shown["Runs"], shown["Seeds a system"]) == ("3", "3", "1 to 2")
    assert shown["Judged users, by share of training"] == "40 (80 %)"


def test_the_page_and_the_document_have_the_same_cells(full: Report) -> None:
    in_document = [cell for caption in captions(full) for line in lines(full, caption) for cell in line.cells.values()]
    assert len(in_document) > 500
    assert [re.sub(r"[()\s]", "", cell) for cell in Page(full.html).cells] == [
        re.sub(r"[()\s]", "", cell) for cell in in_document
    ]


def test_results_have_one_row_of_a_system_and_split(full: Report) -> None:
    keys = [key_of(row)[:4] for row in full.json["results"]]
    assert len(set(keys)) == len(keys)
    (row,) = rows(full, network="made", protocol="primary", split=80, system="amnl")
    assert (row["dim"], row["seeds"], row["seed_numbers"]) == (64, 2, [0, 1])
    (other,) = full.json["other_dimensions"]
    assert (key_of(other), other["seed_numbers"]) == ((*MADE_AT_80, "amnl", 128), [0])


def test_results_are_the_headline_rows(tmp_path: Path) -> None:
    """Each system's at the dimension that was run at the most splits, here the smaller one."""
    for split, dim in ((60, 32), (80, 32), (80, 400)):
        write_run(tmp_path / "runs", split=split, dim=dim)
    told = report(tmp_path / "runs", tmp_path / "report")
    assert [key_of(row) for row in told.json["results"]] == [row.key for row in headline(collect(tmp_path / "runs"))]
    assert [row["dim"] for row in told.json["other_dimensions"]] == [400]
