"""What was measured elsewhere and is computed with here; nothing is typed in by hand."""

import json
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


class NotMeasured(LookupError):
    """There is no such row yet."""


@dataclass(frozen=True)
class Constant:
    """`value` in `unit`, from the row `name` of a file of docs/."""

    value: float
    unit: str
    file: str
    name: str


@dataclass(frozen=True)
class Row:
    """Where a constant is: a row of docs/scale/results.json, or of docs/performance/results.json without a section."""

    name: str
    unit: str
    section: str | None = None


def _times(name: str) -> Row:
    return Row(name, "µs of a core", "service_times")


def _stored(name: str, unit: str = "bytes") -> Row:
    return Row(name, unit, "storage")


ROWS = {
    "vector_bytes": Row("memory of a user's vector in Redis", "bytes"),
    "encode_ms": Row("a tweet: encoder", "ms of a core"),
    "decode_ms": Row("a tweet: decoding and scaling", "ms of a core"),
    "post_ms": Row("a tweet: service", "ms of a core"),
    "tuples_a_second": Row("tuples/s", "1/s"),
    "held_alone": _times("held, 1 connection, service"),
    "held_shared": _times("held, 16 connections, service"),
    "held_candidates": Row("held, candidates", "candidates", "service_times"),
    "held_few": _times("held few, 16 connections, service"),
    "few_candidates": Row("held few, candidates", "candidates", "service_times"),
    "looks_shared": Row("held, 16 connections, looks", "a request", "service_times"),
    "look_client": _stored("a look, nothing changed, client", "µs of a core"),
    "look_service": _times("look, service"),
    "look_redis": _times("held, 1 connection, Redis"),
    "busy_look_redis": _stored("a look, nothing changed, Redis", "µs of a core"),
    "client": _times("held, 16 connections, client"),
    **{
        f"{what}_{where}": _times(f"read anew, {name}, {told}")
        for what, name in (
            ("request", "a request"),
            ("followee", "a followee"),
            ("entry", "an entry of a timeline"),
            ("candidate", "a candidate"),
        )
        for where, told in (("service", "service"), ("redis", "Redis"))
    },
    "known_bytes": _stored("user known"),
    "users_row": _stored("SQL, a row of users"),
    "follows_row": _stored("SQL, a row of follows"),
    "tweets_row": _stored("SQL, a row of tweets"),
    "retweets_row": _stored("SQL, a row of retweets"),
    "tweet_vectors_row": _stored("SQL, a row of tweet_vectors"),
    "command_client": _stored("one more command of a fan-out, client", "µs of a core"),
    "change_client": _stored("a change that a look tells, client", "µs of a core"),
    "push_redis": _stored("a push to an inbox of 1,000, Redis", "µs of a core"),
    "push_client": _stored("a push to an inbox of 1,000, client", "µs of a core"),
    "vectors_written": _stored("vectors written by one writer", "1/s"),
    "users_online": _stored("users put online by one writer, Redis alone", "1/s"),
}
"""By what they are called here."""


class Constants:
    """By name, as floats; one that was not measured yet raises NotMeasured, which says which row is missing."""

    def __init__(self, docs: Path = DOCS) -> None:
        self._files = {name: f"{name}/results.json" for name in ("performance", "scale")}
        self._rows: dict[tuple[str | None, str, str], float] = {}
        self._machines: dict[tuple[str | None, str, str], str] = {}
        path = docs / self._files["performance"]
        for row in json.loads(path.read_text("utf-8")):
            self._rows[None, row["name"], row["unit"]] = row["value"]
            self._machines[None, row["name"], row["unit"]] = row["machine"]
        path = docs / self._files["scale"]
        for section, found in (json.loads(path.read_text("utf-8")) if path.exists() else {}).items():
            for row in found["results"]:
                self._rows[section, row["name"], row["unit"]] = row["value"]

    def __getitem__(self, name: str) -> float:
        return self.constant(name).value

    def constant(self, name: str) -> Constant:
        """With where it is from. Raises NotMeasured."""
        row = ROWS[name]
        return Constant(self.row(row), row.unit, self._files["scale" if row.section else "performance"], row.name)

    def row(self, row: Row) -> float:
        """Raises NotMeasured."""
        found = self._rows.get((row.section, row.name, row.unit))
        if found is None:
            raise NotMeasured(f"“{row.name}” ({row.unit}) of {row.section or 'docs/performance'}")
        return found

    def cores(self, name: str) -> int:
        """Of the machine on which a row of docs/performance was measured. Raises NotMeasured."""
        row = ROWS[name]
        self.row(row)
        return int(self._machines[row.section, row.name, row.unit].rpartition(", ")[2].removesuffix(" cores"))

    def named(self, section: str, start: str) -> dict[str, float]:
        """Values of the rows of a section whose names start so, by what follows."""
        rows = self._rows.items()
        return {
            name.removeprefix(start): value for (of, name, _), value in rows if of == section and name.startswith(start)
        }

    def sizes(self, family: str) -> list[tuple[float, float]]:
        """Bytes of a key of a family by what it holds. Raises NotMeasured."""
        found = self.named("storage", f"{family}, ")
        if not found:
            raise NotMeasured(f"“{family}, ...” (bytes) of storage")
        return sorted((float(n.replace(",", "")), value) for n, value in found.items())
