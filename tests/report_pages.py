"""A report of made runs, and what its page and its document say."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

from tests.made_runs import write_marker, write_run
from training.report import write_report

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Fails where a tag is not closed in its turn; keeps tags, texts of table cells, and ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += f" {data}"


class Report(NamedTuple):
    html: str
    markdown: str
    json: dict[str, Any]
    drawings: dict[str, str]


class Line(NamedTuple):
    """A line of a table: its group's title, its label, what stands beside that, and cells by column."""

    group: str
    label: str
    beside: str
    cells: dict[str, str]


def report(runs: Path, out: Path, quick: bool = False) -> Report:
    write_report(runs, out, quick=quick)
    written = {path.name: path.read_text("utf-8") for path in out.iterdir()}
    drawings = {name: written.pop(name) for name in list(written) if name.endswith(".svg")}
    assert set(written) == {"details.json", "index.html", "results.json", "summary.md"}
    numbers = {**json.loads(written["details.json"]), "results": json.loads(written["results.json"])}
    return Report(written["index.html"], written["summary.md"], numbers, drawings)


def everything(folder: Path) -> Report:
    """A comparison with something of everything, and gaps."""
    runs = folder / "runs"
    levels = {"random": 0.3, "famf": 0.45, "amnl_i": 0.5, "amnl": 0.6, "bayes": 0.8, "odd <b>": 0.47}
    for system, level in levels.items():
        for split in (60, 80):
            for seed in range(2):
                write_run(runs, system, split=split, seed=seed, level=level, epochs=3 + 2 * seed)
    write_run(runs, "amnl", dim=128, level=0.55)
    write_run(runs, "amnl (product)", level=0.48)
    alone = {"personal only": 0.5, "social only": 0.52}
    placebos = {"rewired follows": 0.55, "permuted words": 0.9, "follows rewired in test": 0.53}
    for system, level in {**alone, **placebos}.items():
        write_run(runs, system, level=level)
    write_run(runs, "amnl", network="lastfm", backbone=None, level=0.52)
    write_run(runs, "famf", network="lastfm", backbone=None, level=0.51)
    for system in ("amnl_i", "permuted_pictures"):
        write_marker(runs, f"lastfm-primary-80-{system}-s0")
    write_marker(runs, "lastfm-primary-80-rrfm-s0", diverged=True)
    write_run(runs, "famf", protocol="secondary", level=0.62)
    (write_run(runs, "vbpr") / "users.npz").unlink()
    return report(runs, folder / "report")


def section(told: Report, title: str) -> str:
    """A section of the document, by its heading."""
    return told.markdown.split(f"## {title}\n")[1].split("\n## ")[0]


def captions(told: Report) -> list[str]:
    """Of all tables of the document."""
    return re.findall(r"^\*\*(.+)\*\*$", told.markdown, re.MULTILINE)


def lines(told: Report, caption: str) -> list[Line]:
    """Those of the document's one table whose caption begins so."""
    (found,) = re.findall(rf"^\*\*{re.escape(caption)}.*\*\*\n\n((?:\|.+\n)+)", told.markdown, re.MULTILINE)
    head, _, *rows = ([_plain(cell) for cell in row[2:-2].split(" | ")] for row in found.splitlines())
    assert len(set(head)) == len(head)
    read, group = [], ""
    for label, *cells in rows:
        if not any(cells):
            group = label.strip("*")
            continue
        name, beside = re.fullmatch(r"(.*?)(?: \((d \d+.*|\d.* seeds?)\))?", label).groups("")  # type: ignore[union-attr]
        read.append(Line(group, name, beside, dict(zip(head[1:], cells, strict=True))))
    return read


def cells(told: Report, caption: str, label: str, group: str = "", beside: str = "") -> dict[str, str]:
    """Of the one line of a table that has the label, and the group and what is beside where those are given."""
    (found,) = [
        line.cells
        for line in lines(told, caption)
        if line.label == label and group in ("", line.group) and beside in ("", line.beside)
    ]
    return found


def _plain(markdown: str) -> str:
    return re.sub(r"\\(.)", r"\1", markdown.strip().replace("**", ""))
