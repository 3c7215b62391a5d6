"""How a request's time grows with candidates and with followees, beside NumPy's product of the same size.

    python -m benchmarks.growth

One connection, four readers of each size in turn; medians. Prints Markdown.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import httpx
import numpy as np
from matplotlib.figure import Figure

from benchmarks.load import load
from benchmarks.results import Result, Section, command, exponent, result, table
from benchmarks.site import DIM, Group, Site, made_site
from contract.embedded import open_redis, redis_server
from contract.vectors import VectorStore

COMMAND = command("growth")
READERS = 4
ROUNDS = 3
CANDIDATES = [
    Group(f"c{followees * tweets}", READERS, followees, followees, tweets)
    for followees, tweets in ((1, 100), (2, 158), (5, 200), (16, 198), (50, 200), (158, 200), (500, 200))
]
FOLLOWEES = [
    Group(f"f{followees}", READERS, followees, followees, max(1, 1_000 // followees))
    for followees in (1, 10, 100, 1_000, 3_162, 10_000)
]
_CHANGES = 50
_MOST_CANDIDATES = 1_000
"""Of requests whose followees grow."""


@dataclass(frozen=True)
class Line:
    """Milliseconds a request, and of NumPy's product, by size."""

    sizes: list[int]
    request_ms: list[float]
    product_ms: list[float]

    def slope_us(self, ms: Sequence[float]) -> float:
        """Microseconds that one more costs, from 1,000 to the most."""
        first = min(range(len(self.sizes)), key=lambda n: abs(self.sizes[n] - 1_000))
        return 1_000 * (ms[-1] - ms[first]) / (self.sizes[-1] - self.sizes[first])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each of the rounds")
    print(measure(parser.parse_args().seconds))


def measure(seconds: float) -> Section:
    """Both: some two minutes."""
    with made_site(CANDIDATES, MAX_CANDIDATES="100000", HELD_MB="2000") as site:
        candidates = line(CANDIDATES, site, seconds, lambda found, _: found)
    with made_site(FOLLOWEES, MAX_CANDIDATES=str(_MOST_CANDIDATES), HELD_MB="2000") as site:
        followees = line(FOLLOWEES, site, seconds, lambda _, group: group.followees)
        changed = replace(followees, request_ms=[asyncio.run(after_a_change(group, site)) for group in FOLLOWEES])
    text = "\n\n".join(
        [
            f"d = {DIM}, one connection, one worker; median of {ROUNDS} rounds of {seconds:g} s, beside NumPy's "
            "product of as many float32 vectors, in one block, with two directions. What has candidates has followees, "
            "too: one for 200 of them.",
            _table("Candidates", candidates),
            f"Followees, with at most {_MOST_CANDIDATES:,} candidates, where candidates and attention are kept:",
            _table("Followees", followees),
            "The same, each request right after a followee's vector changed, so that attention is computed anew:",
            _table("Followees", changed),
            "![Time by candidates and by followees](performance/growth.svg)",
        ]
    )
    lines = {"candidates": candidates, "followees, kept": followees, "followees, changed": changed}
    results = [one for name, found in lines.items() for one in _results(name, found)]
    figure = _figure(lines)
    return Section("Growth", text, results, {"growth.svg": figure})


def line(groups: list[Group], site: Site, seconds: float, size_of: Callable[[int, Group], int]) -> Line:
    """Size by size; `size_of` has the candidates that were ranked."""
    sizes, request_ms, product_ms = [], [], []
    for group in groups:
        answers = [httpx.get(f"http://127.0.0.1:{site.port}{path}", timeout=120).json() for path in group.paths()]
        sizes.append(size_of(answers[0]["candidates"], group))
        rounds = [asyncio.run(load(site.port, group.paths(), 1, seconds)).quantile_ms(0.5) for _ in range(ROUNDS)]
        request_ms.append(statistics.median(rounds))
        product_ms.append(product_of(sizes[-1], seconds))
    return Line(sizes, request_ms, product_ms)


async def after_a_change(group: Group, site: Site) -> float:
    """Milliseconds of a request, the median, each after a followee's vector was written."""
    taken, followee, path = [], f"{group.name}-author-0", group.paths()[0]
    with redis_server(site.stores) as (url, _):
        async with open_redis(url) as redis, httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.port}") as client:
            vectors = VectorStore(redis, site.stores.redis_namespace)
            version = (await client.get(path)).json()["version"]
            for n in range(_CHANGES):
                await vectors.put_users(version, [followee], np.full((1, DIM), n / _CHANGES, dtype=np.float16))
                started = time.perf_counter()
                (await client.get(path)).raise_for_status()
                taken.append(time.perf_counter() - started)
    return 1_000 * statistics.median(taken)


def product_of(size: int, seconds: float) -> float:
    """Milliseconds of NumPy's product, the median."""
    generator = np.random.default_rng(0)
    vectors_CD = generator.normal(size=(size, DIM)).astype(np.float32)
    directions_D2 = generator.normal(size=(DIM, 2)).astype(np.float32)
    taken = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        _ = vectors_CD @ directions_D2
        taken.append(time.perf_counter() - started)
    return 1_000 * statistics.median(taken)


def _table(name: str, found: Line) -> str:
    rows = [
        [f"{size:,}", f"{request:,.2f}", f"{product:,.3f}"]
        for size, request, product in zip(found.sizes, found.request_ms, found.product_ms, strict=True)
    ]
    return table([name, "Request, ms", "NumPy's product, ms"], rows)


def _results(name: str, found: Line) -> list[Result]:
    ratio = found.slope_us(found.request_ms) / found.slope_us(found.product_ms)
    against = f"NumPy's product of as many vectors, 1,000 to {found.sizes[-1]:,}"
    grows = exponent(dict(zip(found.sizes, found.request_ms, strict=True)))
    return [
        result(f"exponent in {name}, last decade", grows, "", "itself", COMMAND, ("<=", 1)),
        result(f"slope in {name}", ratio, "times NumPy's", against, COMMAND, ("<=", 1.5)),
    ]


def _figure(lines: dict[str, Line]) -> Figure:
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, len(lines)), lines.items(), strict=True):
        axes.loglog(found.sizes, found.request_ms, marker="o", label="request")
        axes.loglog(found.sizes, found.product_ms, marker=".", label="NumPy's product")
        axes.set_xlabel(name)
        axes.set_ylabel("ms")
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


if __name__ == "__main__":
    main()
