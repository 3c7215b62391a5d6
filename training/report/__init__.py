"""The comparison as a page, as JSON and as Markdown."""

import json
from pathlib import Path

from training.report.evidence import Evidence
from training.report.page import html, markdown
from training.report.sections import sections

__all__ = ["write_report"]


def write_report(runs: Path, out: Path) -> None:
    """Write `out`/index.html (one file that needs no other), results.json and summary.md, of the runs there are."""
    evidence = Evidence.read(runs)
    told = sections(evidence)
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(html(told), "utf-8")
    (out / "summary.md").write_text(markdown(told), "utf-8")
    (out / "results.json").write_text(json.dumps(evidence.json(), indent=1, allow_nan=False) + "\n", "utf-8")
