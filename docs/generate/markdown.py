"""Markdown that GitHub and MyST read alike."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Row = Sequence[object]


def table(header: Row, rows: Iterable[Row]) -> str:
    """A table; nothing where it has no rows."""
    lines = [_line(row) for row in rows]
    return "\n".join([_line(header), _line(["---"] * len(header)), *lines, ""]) if lines else ""


def code(value: object) -> str:
    """As it is typed."""
    return f"`{value}`"


def document(*parts: str) -> str:
    """Parts with a blank line between them; empty ones are left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def filled(page: Path, place: str, content: str) -> str:
    """A page that is written by hand but for one place, with what belongs there."""
    return all_filled(page, {place: content})


def all_filled(page: Path, contents: Mapping[str, str]) -> str:
    """The same with several places."""
    text = page.read_text("utf-8")
    for place, content in contents.items():
        start, end = f"<!-- {place}: written by make docs -->", f"<!-- end of {place} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{page.name} has no place for the {place}: keep the lines {start} and {end}")
        text = f"{before}{start}\n\n{content}\n{end}{after}"
    return text


def number(value: float) -> str:
    """With commas where it is a whole one."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _line(cells: Row) -> str:
    return f"| {' | '.join(' '.join(str(cell).replace('|', chr(92) + '|').split()) for cell in cells)} |"
