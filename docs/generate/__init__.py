"""Pages that are written from the code, so that they say what it does: `python -m docs.generate` (`make docs`)."""

from collections.abc import Callable
from pathlib import Path

from docs.generate.commands import commands_page
from docs.generate.configuration import configuration_page
from docs.generate.decisions import decisions_page
from docs.generate.diagram import diagram
from docs.generate.figures import model_card
from docs.generate.http import http_page
from docs.generate.keys import architecture_page
from docs.generate.scale import scale_page

DOCS = Path(__file__).resolve().parent.parent
_PACKAGES = [DOCS.parent / name for name in ("contract", "service")]

PAGES: dict[str, Callable[[], str]] = {
    "architecture.md": lambda: architecture_page(DOCS / "architecture.md", _PACKAGES),
    "cli.md": commands_page,
    "configuration.md": configuration_page,
    "decisions/index.md": lambda: decisions_page(DOCS / "decisions"),
    "http.md": http_page,
    "images/architecture.svg": diagram,
    "model-card.md": lambda: model_card(DOCS / "model-card.md", DOCS / "reproduction" / "results.json"),
    "scale.md": lambda: scale_page(DOCS / "scale.md", DOCS),
}
"""By the path of the page. Of architecture.md, model-card.md and scale.md tables are written, the others as a whole."""
