"""The comparison as a page, as JSON and as Markdown."""

import json
from pathlib import Path

from training.report.evidence import Evidence
from training.report.page import drawings, html, markdown
from training.report.sections import sections

__all__ = ["write_report"]


def write_report(runs: Path, out: Path, quick: bool = False) -> None:
    """Write the page of the runs there are into `out`.

    index.html needs no other file; results.json is the list of means and intervals, one of each system and split;
    details.json has the rest of the page's numbers; summary.md has the tables, and links to the figures beside it. Of
    `quick` runs the page says that they are not for comparing.
    """
    evidence = Evidence.read(runs)
    told = sections(evidence)
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(html(told, quick), "utf-8")
    (out / "summary.md").write_text(markdown(told, quick), "utf-8")
    for name, svg in drawings(told).items():
        (out / name).write_text(svg, "utf-8")
    details = evidence.json()
    _write(out / "results.json", details.pop("results"))
    _write(out / "details.json", details)


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", "utf-8")
