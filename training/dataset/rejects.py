"""Rows that are not taken: the first one stops the reading, or all of them are listed."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.errors import InputRejected


def place(path: Path, line: int) -> str:
    """How a message names a row's place: a line of text, or a row of Parquet, counted from 1."""
    return f"{path} {'row' if path.suffix == '.parquet' else 'line'} {line}"


@dataclass(frozen=True)
class Reject:
    """A bad row. `field` is None where the row as a whole is wrong; `row` is what was read, or its text."""

    path: Path
    line: int
    field: str | None
    reason: str
    row: Any

    @property
    def place(self) -> str:
        """File and line."""
        return place(self.path, self.line)

    def __str__(self) -> str:
        return f"{self.place}{f', field {self.field}' if self.field else ''}: {self.reason}"


class Rejects:
    """Collects bad rows in the order of reading; knows which users and tweets are among them."""

    def __init__(self, strict: bool) -> None:
        """`strict`: the first bad row raises InputRejected."""
        self.strict = strict
        self._places: dict[tuple[str, str], str] = {}
        self.rows: list[Reject] = []

    def add(self, reject: Reject) -> None:
        """Raises InputRejected where reading is strict."""
        if self.strict:
            raise InputRejected(str(reject))
        self.rows.append(reject)
        table = reject.path.stem
        name = {"users": "user_id", "tweets": "tweet_id"}.get(table)
        if name and isinstance(reject.row, dict):
            self._places.setdefault((table, str(reject.row.get(name))), reject.place)

    def place(self, table: str, id: str) -> str | None:  # noqa: A002
        """Where a rejected user or tweet stands; None where none has this id."""
        return self._places.get((table, id))

    def counts(self) -> dict[str, int]:
        """Rejected rows by table; tables without any are left out."""
        return dict(Counter(reject.path.stem for reject in self.rows))

    def write(self, path: Path) -> None:
        """List them as JSON lines: file, line, field, reason, row. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # A lone surrogate, which JSON can spell and UTF-8 cannot, stays the escape that it was.
        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            for reject in self.rows:
                line = {"file": str(reject.path)} | {
                    name: getattr(reject, name) for name in ("line", "field", "reason", "row")
                }
                file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
