"""docs/decisions/index.md, from the pages beside it."""

from pathlib import Path

from docs.generate.markdown import document

INTRODUCTION = """\
# Decisions

Why things are as they are, a page each: the context, what was decided, what follows from it. A later decision may
change an earlier one; it says so. (This list is written by `make docs`.)
"""


def decisions_page(folder: Path) -> str:
    """All decisions by number."""
    lines = []
    for page in sorted(folder.glob("[0-9]*.md")):
        number, _, title = page.read_text("utf-8").partition("\n")[0].removeprefix("# ").partition(". ")
        lines.append(f"{number}. [{title}]({page.name})")
    return document(INTRODUCTION, "\n".join(lines))
