"""GET recommendations beside a constant endpoint of the same app, in turns, in one run.

    python -m benchmarks.read_path

Every reader of a group follows others, so that candidates lie scattered. Prints Markdown.
"""

import argparse
import asyncio
import os
import platform
import statistics
from dataclasses import dataclass

import httpx

from benchmarks.floors import PARTS
from benchmarks.load import Load, load
from benchmarks.site import DIM, Group, Site, made_site

ROUNDS = 5
GROUPS = [
    Group("base", readers=200, followees=6, authors=300, tweets=167),
    Group("wide", readers=20, followees=60, authors=300, tweets=167),
    Group("social", readers=20, followees=5_000, authors=5_100, tweets=20),
]


@dataclass(frozen=True)
class Row:
    """What one group came to, beside the constant endpoint in the same rounds."""

    what: str
    candidates: int
    asked: list[Load]
    constant: list[Load]

    @property
    def rate(self) -> float:
        """Median requests a second."""
        return statistics.median(load.rate for load in self.asked)

    @property
    def share(self) -> float:
        """Of the constant endpoint's requests a second: the median of the rounds."""
        return statistics.median(a.rate / b.rate for a, b in zip(self.asked, self.constant, strict=True))

    def share_of_quantile(self, q: float) -> float:
        """How many times the constant endpoint's quantile of the latency: the median of the rounds."""
        pairs = zip(self.asked, self.constant, strict=True)
        return statistics.median(a.quantile_ms(q) / b.quantile_ms(q) for a, b in pairs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each of the rounds")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--groups", type=int, default=len(GROUPS), help="only the first ones, for a quick look")
    options = parser.parse_args()
    groups = GROUPS[: options.groups]
    with made_site(groups, MAX_CANDIDATES="10000") as site:
        rows = [measure(group, site, options.connections, options.seconds) for group in groups]
        floors = [measure(groups[0], site, options.connections, options.seconds, part) for part in PARTS]
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, d = {DIM}, {options.connections} connections, one worker\n")
    print(
        "| followees | candidates | requests/s | times the constant's | p50 ms | p99 ms | p99, times the constant's |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row, group in zip(rows, groups, strict=True):
        p50, p99 = (statistics.median(load.quantile_ms(q) for load in row.asked) for q in (0.5, 0.99))
        print(
            f"| {group.followees:,} | {row.candidates:,} | {row.rate:,.0f} | {row.share:.2f} "
            f"| {p50:.1f} | {p99:.1f} | {row.share_of_quantile(0.99):.1f} |"
        )
    for floor in floors:
        print(f"\n{floor.what}: {floor.share:.2f} of the constant's requests/s, {floor.candidates:,} candidates")
    if len(rows) < len(GROUPS):
        return
    base, wide, social = rows
    print(f"\n{wide.candidates:,} candidates cost {base.rate / wide.rate:.1f} times {base.candidates:,};")
    print(f"5,000 followees cost {base.rate / social.rate:.1f} times 6.")


def measure(group: Group, site: Site, connections: int, seconds: float, what: str = "recommendations") -> Row:
    """In turns, after one round that fills what the service keeps; `what` is a route below a user's."""
    paths = group.paths(what)
    candidates = httpx.get(f"http://127.0.0.1:{site.port}{paths[0]}", timeout=60).json()["candidates"]
    asyncio.run(load(site.port, paths, connections, 2 * seconds))
    asked, constant = [], []
    for _ in range(ROUNDS):
        constant.append(asyncio.run(load(site.port, ["/constant"], connections, seconds)))
        asked.append(asyncio.run(load(site.port, paths, connections, seconds)))
    return Row(what, candidates, asked, constant)


if __name__ == "__main__":
    main()
