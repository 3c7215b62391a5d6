"""GET recommendations beside a constant endpoint of the same app and plain loops, in one run.

    python -m benchmarks.read_path

Every reader of a group follows others, so that candidates lie scattered. Prints Markdown.
"""

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import numpy as np

from benchmarks.floors import PARTS
from benchmarks.load import Load, load
from benchmarks.results import Result, Section, command, result, table
from benchmarks.site import DIM, Group, Site, made_site

COMMAND = command("read_path")
ROUNDS = 3
GROUPS = [
    Group("base", readers=200, followees=6, authors=300, tweets=167),
    Group("small", readers=200, followees=6, authors=300, tweets=17),
    Group("wide", readers=20, followees=60, authors=300, tweets=167),
    Group("social", readers=20, followees=5_000, authors=5_100, tweets=20),
]
CONNECTIONS = (1, 16, 64)
QUANTILES = (0.5, 0.99, 0.999)


@dataclass(frozen=True)
class Row:
    """What one group came to, beside another path in the same rounds."""

    candidates: int
    asked: list[Load]
    beside: list[Load]

    @property
    def rate(self) -> float:
        """Median requests a second."""
        return statistics.median(load.rate for load in self.asked)

    @property
    def share(self) -> float:
        """Of the other path's requests a second: the median of the rounds."""
        return statistics.median(a.rate / b.rate for a, b in zip(self.asked, self.beside, strict=True))

    def ms(self, q: float) -> float:
        """A quantile of the latencies of all rounds."""
        return quantile_ms(self.asked, q)

    def times(self, q: float) -> float:
        """How many times the other path's quantile."""
        return self.ms(q) / quantile_ms(self.beside, q)


def quantile_ms(loads: Sequence[Load], q: float) -> float:
    """Of all their latencies, in ms."""
    return 1_000 * float(np.quantile(np.concatenate([load.latencies for load in loads]), q))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each of the rounds")
    parser.add_argument("--quick", action="store_true", help="16 connections, 1,002 candidates, and nothing else")
    options = parser.parse_args()
    if not options.quick:
        print(measure(options.seconds))
        return
    with made_site(GROUPS[:1]) as site:
        row = beside_the_constant(GROUPS[0], site, 16, options.seconds)
    print(f"{row.rate:,.0f} requests/s, {row.share:.2f} of the constant endpoint's")


def measure(seconds: float) -> Section:
    """All of it: some five minutes."""
    base, small, wide, social = GROUPS
    with made_site(GROUPS, MAX_CANDIDATES="10000") as site:
        closed = {n: beside_the_constant(base, site, n, seconds) for n in CONNECTIONS}
        opened = {n: at_half_the_rate(base, site, n, seconds, closed[n]) for n in CONNECTIONS}
        few = beside_the_constant(small, site, 16, seconds)
        few_opened = at_half_the_rate(small, site, 16, seconds, few)
        larger = [beside_the_constant(group, site, 16, seconds) for group in (wide, social)]
        parts = {part: beside_the_constant(base, site, 16, seconds, part) for part in PARTS}
        literal = in_turns(base, site, 16, seconds, "literal", base.paths())
        beside_read = in_turns(base, site, 16, seconds, "recommendations", base.paths("read"))
    text = "\n\n".join(
        [
            f"d = {DIM}, one worker, {base.readers} readers in turn; median of {ROUNDS} rounds of {seconds:g} s each, "
            "in turns with what it is measured beside. Latencies are of an open loop at half the requests a second "
            "that there can be, over all rounds: what waits because those before it were slow counts. The service "
            "holds what it was asked for before: vectors, timelines, a user's candidates and attention; each request "
            "ranks.",
            table(
                [
                    "Followees",
                    "Candidates",
                    "Connections",
                    "Requests/s",
                    "Of the constant's",
                    "p50 ms",
                    "p99 ms",
                    "p99.9 ms",
                ],
                [
                    *(_speed(base, n, closed[n], opened[n]) for n in CONNECTIONS),
                    _speed(small, 16, few, few_opened),
                    *(_speed(group, 16, row, None) for group, row in zip((wide, social), larger, strict=True)),
                ],
            ),
            f"What a request with {closed[16].candidates:,} candidates costs, by routes that do a part of it "
            "(benchmarks/floors.py), 16 connections:",
            table(["Up to", "Of the constant's requests/s", "µs a request more"], _split(closed[16], parts)),
        ]
    )
    return Section("Read path", text, _results(closed, opened, few_opened, larger, literal, beside_read))


def beside_the_constant(
    group: Group, site: Site, connections: int, seconds: float, what: str = "recommendations"
) -> Row:
    """`what` is a route below a user's."""
    return in_turns(group, site, connections, seconds, what, ["/constant"])


def in_turns(group: Group, site: Site, connections: int, seconds: float, what: str, beside: list[str]) -> Row:
    """In turns, after each path was asked for, which fills what the service keeps, and a round."""
    paths = group.paths(what)
    with httpx.Client(base_url=f"http://127.0.0.1:{site.port}", timeout=60) as client:
        candidates, *_ = [client.get(path).json()["candidates"] for path in paths]
    asyncio.run(load(site.port, paths, connections, seconds))
    return Row(candidates, *_rounds(site, paths, beside, connections, seconds))


def at_half_the_rate(group: Group, site: Site, connections: int, seconds: float, closed: Row) -> Row:
    """Of an open loop, both paths at half the rate that a closed one had."""
    asked = _rounds(site, group.paths(), ["/constant"], connections, 2 * seconds, closed.rate / 2)
    return Row(closed.candidates, *asked)


def _rounds(
    site: Site, paths: list[str], beside: list[str], connections: int, seconds: float, rate: float | None = None
) -> tuple[list[Load], list[Load]]:
    asked, others = [], []
    for _ in range(ROUNDS):
        others.append(asyncio.run(load(site.port, beside, connections, seconds, rate)))
        asked.append(asyncio.run(load(site.port, paths, connections, seconds, rate)))
    return asked, others


def _speed(group: Group, connections: int, closed: Row, opened: Row | None) -> list[str]:
    quantiles = ["", "", ""] if opened is None else [f"{opened.ms(q):.1f}" for q in QUANTILES]
    followees, candidates = f"{group.followees:,}", f"{closed.candidates:,}"
    return [followees, candidates, str(connections), f"{closed.rate:,.0f}", f"{closed.share:.2f}", *quantiles]


def _split(whole: Row, parts: dict[str, Row]) -> list[list[str]]:
    """By shares of the constant in the same rounds; in units of its median beside the whole."""
    constant_us = 1e6 / statistics.median(load.rate for load in whole.beside)
    rows, before_us = [["constant", "1", f"{constant_us:,.0f}"]], constant_us
    for part, row in [*parts.items(), ("answered", whole)]:
        us = constant_us / row.share
        rows.append([part, f"{row.share:.2f}", f"{us - before_us:+,.0f}"])
        before_us = us
    return rows


def _results(
    closed: dict[int, Row], opened: dict[int, Row], few: Row, larger: list[Row], literal: Row, beside_read: Row
) -> list[Result]:
    constant, base = "a constant endpoint of the same app, FastAPI's way", closed[16]
    wide, social = larger
    ranked = f"{base.candidates:,} candidates"
    rows = [
        (f"requests/s, {ranked}, 16 connections", base.share, "of constant", constant, (">=", 0.5)),
        ("the same, 1 connection", closed[1].share, "of constant", constant, None),
        ("the same, 64 connections", closed[64].share, "of constant", constant, None),
        (
            f"requests/s, {ranked}, 16 connections",
            beside_read.share,
            "of that",
            "a route read as quickly, answer made",
            None,
        ),
        (f"requests/s, {ranked}, 16 connections", base.rate, "1/s", "", None),
        (f"p99, {ranked}, half the rate", opened[16].ms(0.99), "ms", "", None),
        (f"p99, {ranked}, half the rate", opened[16].times(0.99), "times constant's", f"{constant}, same rate", None),
        (
            f"p99, {few.candidates:,} candidates, half the rate",
            few.ms(0.99),
            "ms",
            "(published: Metarank, 10)",
            ("<=", 10.0),
        ),
        ("plain loops", 1 / literal.share, "times as fast", "torch in the same app", (">=", 100.0)),
        (f"{wide.candidates:,} candidates", base.share / wide.share, "times as long", ranked, ("<=", 10.0)),
        ("5,000 followees, all kept", base.share / social.share, "times as long", "6 followees", ("<=", 10.0)),
    ]
    return [result(name, value, unit, beside, COMMAND, goal) for name, value, unit, beside, goal in rows]


if __name__ == "__main__":
    main()
