import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.made_runs import write_run
from tests.report_pages import Page, Report, everything, report, section
from training.report.lineup import placed
from training.report.tables import number


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return everything(tmp_path_factory.mktemp("full"))


def test_figures_are_files_beside_the_summary(full: Report) -> None:
    assert set(re.findall(r"^!\[.+\]\((.+)\)$", full.markdown, re.MULTILINE)) == set(full.drawings)
    assert set(full.drawings) == {"figure-3.svg", "figure-4.svg"}
    for svg in full.drawings.values():
        drawing = ElementTree.fromstring(svg)  # noqa: S314  # our own
        left = [float(panel.attrib["x"]) for panel in drawing.findall("{http://www.w3.org/2000/svg}svg")]
        assert len(left) == 3
        assert left == sorted(set(left))
        assert set(re.findall(r"https?://[^\"]+", svg)) == {"http://www.w3.org/2000/svg"}
        assert set(re.findall(r"var\((--\w+)\)", svg)) <= set(re.findall(r"(--\w+):", svg))
    assert "AMNL_i" in full.drawings["figure-4.svg"]


def test_the_page_is_well_formed_and_refers_to_nothing_outside(full: Report) -> None:
    page = Page(full.html)
    assert "http" not in full.html
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    references = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("href", "src")]
    references += re.findall(r"url\(([^)]*)\)", full.html)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {str(reference)[:1] for reference in references} == {"#"}
    assert {str(reference)[1:] for reference in references} <= {str(name) for name in ids}


def test_tables_and_plots_speak_to_screen_readers(full: Report) -> None:
    page = Page(full.html)
    tables = full.html.count("<table")
    assert full.html.count("<caption>") == tables > 10
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    plots = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(plots) == 6
    titles = dict(re.findall(r'<title id="([^"]+)">([^<]+)</title>', full.html))
    assert all(plot["role"] == "img" and len(titles[str(plot["aria-labelledby"])]) > 40 for plot in plots)


def test_names_are_escaped(full: Report) -> None:
    assert "odd &lt;b&gt;" in full.html
    assert "odd <b>" not in full.html
    assert "odd \\<b>" in full.markdown


def test_the_best_of_a_column_is_bold_and_ceilings_do_not_compete(full: Report) -> None:
    best = {
        row["split"]: number(row["p_at_1"])
        for row in full.json["results"]
        if (row["system"], row["dim"]) == ("amnl", 64)
    }
    table = full.markdown[full.markdown.index("**Table 1.") :]
    (amnl,) = [line for line in table.splitlines()[:60] if line.startswith("| AMNL (d 64)")]
    (bayes,) = [line for line in table.splitlines()[:60] if line.startswith("| Bayes")]
    assert f"**{best[60]}**" in amnl
    assert f"**{best[80]}**" in amnl
    assert "**" not in bayes


def test_what_is_missing_is_said(full: Report) -> None:
    table = full.markdown[full.markdown.index("**Table 1.") : full.markdown.index("**Table 2.")]
    assert "| LightGCN | not run | not run | not run |" in table
    assert re.search(r"\| AMNL \(d 64\) \| [^|]+ \| not run \| [^|]+ \|", table)
    assert "Flickr likes: not run." in full.html
    assert "Not finished and left out: made-primary-80-vbpr-d64-s0." in full.html


def test_what_amnl_uses_is_a_table_of_differences_to_its_placebos(full: Report) -> None:
    table = full.markdown[full.markdown.index("**What AMNL uses") :].split("\n## ")[0]
    made, lastfm = table[table.index("*Made network*") : table.index("*Flickr likes*")].split("*HetRec LastFM*")
    assert "| AMNL less Permuted pictures | not run | not run | not run |" in made
    assert lastfm.count("| not run | not run | not run |") == 6
    assert lastfm.count("| not for this network | not for this network | not for this network |") == 2
    auc = {(one["a"]["system"], one["b"]["system"]): one for one in full.json["differences"] if one["metric"] == "auc"}
    for pair, label, by in (
        (("amnl", "rewired follows"), "AMNL less Rewired follows", 0.05),
        (("amnl", "personal only"), "AMNL less Personal facet alone", 0.1),
        (("rewired follows", "personal only"), "Rewired follows less Personal facet alone", 0.05),
    ):
        (line,) = [line for line in made.splitlines() if line.startswith(f"| {label} |")]
        assert auc[pair]["difference"] == pytest.approx(by, abs=0.03)
        assert f"{number(auc[pair]['difference'])} (" in line


def test_a_placebo_is_neither_the_strongest_nor_the_best(full: Report) -> None:
    before_ablations = full.markdown[: full.markdown.index("**Table 4.")]
    assert "Permuted words" not in before_ablations
    lines = [line for line in full.markdown.splitlines() if line.startswith("| Permuted words (d 64")]
    assert len(lines) == 7
    assert not any("**" in line for line in lines)


def test_the_paper_and_the_reconstruction_are_labelled(full: Report) -> None:
    assert "another data set" in full.html
    assert ".860" in full.html
    assert "secondary protocol (reconstruction)" in full.html


def test_the_protocols_do_not_mix(tmp_path: Path) -> None:
    primary = [write_run(tmp_path / "runs", system, level=0.4) for system in ("amnl", "vbpr")]
    alone = report(tmp_path / "runs", tmp_path / "alone")
    value_L = np.array([0.8, 0.9, np.nan, np.nan])
    for system in ("amnl", "vbpr", "rrfm"):
        write_run(tmp_path / "runs", system, protocol="secondary", value_L=value_L)
    both = report(tmp_path / "runs", tmp_path / "both")
    for name in ("Made network, primary protocol", "Ablations", "Beside the paper", "Who it works for"):
        assert section(both, name) == section(alone, name)
    assert "| VBPR (d 64) | **.850** (.800–.900) |" in section(both, "Secondary protocol: a reconstruction")
    assert {row["users"] for row in both.json["results"] if row["protocol"] == "secondary"} == {4}
    assert len(primary) == sum(row["protocol"] == "primary" for row in both.json["results"])


def test_differences_are_paired(full: Report) -> None:
    found = [one for one in full.json["differences"] if (one["b"]["system"], one["metric"]) == ("amnl_i", "auc")]
    level = {row["system"]: row["auc"] for row in full.json["results"] if row["split"] == 80 and row["dim"] == 64}
    assert found[0]["difference"] == pytest.approx(level["amnl"] - level["amnl_i"])
    assert found[0]["difference_low"] > 0.08


def test_nothing_was_run(tmp_path: Path) -> None:
    told = report(tmp_path / "missing", tmp_path / "report")
    Page(told.html)
    assert "Nothing was run." in told.html
    assert told.html.count("not run") > 100
    assert "<svg" not in told.html
    assert told.json["results"] == []


def test_systems_without_epochs_or_auc(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "amnl", epochs=0, value_L=np.full(4, np.nan))
    told = report(tmp_path / "runs", tmp_path / "report")
    assert "not judged" in told.html
    assert "Figure 4. Objective and time by epoch: not run." in told.html


def test_the_same_runs_give_the_same_report(tmp_path: Path) -> None:
    for dim in (64, 128):
        write_run(tmp_path / "runs", dim=dim)
    assert report(tmp_path / "runs", tmp_path / "a") == report(tmp_path / "runs", tmp_path / "b")


def test_names_find_their_places() -> None:
    assert placed("famf_visual").label == "FAMF-visual"
    assert placed("personal only").label == "Personal facet alone"
    assert placed("ceiling: personal only").label == "Personal facet only"
    assert placed("Bayes").group == placed("ceiling: personal only").group > placed("personal only").group
    assert placed("something new").label == "something new"


@pytest.mark.parametrize(("value", "text"), [(0.4312, ".431"), (-0.0126, "−.013"), (1.0, "1.000"), (-0.0001, ".000")])
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
