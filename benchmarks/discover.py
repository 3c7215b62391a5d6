"""How the time and the memory of ranking tweets grow with their number: every vector, int8 rows with bounds, indexes.

    python -m benchmarks.discover [--tweets 5000000] [--indexes 100000]

Made vectors of d = 400: clustered (topics in 32 dimensions, and noise) and plain (independent dimensions, which is hard
for an index). In one process, one thread, without a service: `Table.products` as a request does it, then the link, then
the best. Indexes need `pip install .[bench]`. Prints Markdown.
"""

import argparse
import math
import statistics
import time
import tracemalloc
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from benchmarks.made_vectors import KINDS, TOPIC_DIM, TOPICS, Kind, made_directions, made_tweets, made_world
from benchmarks.results import Result, Section, command, exponent, result, table
from benchmarks.searches import Int8Rows, Search, User, every_vector, indexes
from benchmarks.site import DIM
from contract.link import Link
from service.table import Table

COMMAND = command("discover")
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 5_000_000)
MOST = 300_000
LINKS: tuple[Link, ...] = ("sum", "softplus", "product")
KS = (3, 100)
USERS = 12
_WITHIN_MS = (10, 50)
_HELD = 131_072
_FIRST_ID = 1_234_567_890_000_000_000


@dataclass(frozen=True)
class Point:
    """One way at one size: median ms, and the share of the true K best that was found."""

    kind: Kind
    way: str
    link: Link
    k: int
    tweets: int
    ms: float
    recall: float


@dataclass(frozen=True)
class Indexed:
    """What an index took: seconds to build, and bytes a tweet beside the fp16 vectors that give the true scores."""

    kind: Kind
    way: str
    tweets: int
    seconds: float
    bytes_a_tweet: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tweets", type=int, default=MOST, help="at most")
    parser.add_argument(
        "--indexes", type=int, default=0, metavar="TWEETS", help="usearch and faiss, too, up to so many"
    )
    options = parser.parse_args()
    print(measure(1.0, options.tweets, options.indexes))


def measure(seconds: float, most: int = MOST, most_indexed: int = 0) -> Section:
    """Some 40 s up to 300,000 tweets. `seconds` are the most that one way may take of one size and link."""
    sizes = [size for size in SIZES if size <= most]
    points, indexed = list[Point](), list[Indexed]()
    for kind in KINDS:
        found, built = measure_kind(kind, sizes, seconds, most_indexed)
        points, indexed = points + found, indexed + built
    return section(points, indexed, bytes_held())


def measure_kind(kind: Kind, sizes: list[int], seconds: float, most_indexed: int) -> tuple[list[Point], list[Indexed]]:
    """All sizes, links and K of one kind of vectors, which are gone afterwards."""
    points, indexed = list[Point](), list[Indexed]()
    generator = np.random.default_rng(0)
    world = made_world(kind, generator)
    users = [User(made_directions(world, generator)) for _ in range(USERS)]
    tweets = Table(DIM)
    tweets.vectors_RD = made_tweets(world, sizes[-1], generator)
    for size in sizes:
        rows = Int8Rows(tweets, size)
        ways: dict[str, Search] = {"every vector": every_vector(tweets, size), "int8 rows": rows.search}
        if size <= most_indexed:
            for name, took, bytes_a_tweet, ways[name] in indexes(tweets, size):
                indexed.append(Indexed(kind, name, size, took, bytes_a_tweet))
        for search in ways.values():
            search(users[-1], LINKS[0], KS[0])  # what is fetched for the first time is not counted
        points += [one for link in LINKS for k in KS for one in compare(kind, ways, users, link, k, size, seconds)]
    return points, indexed


def compare(
    kind: Kind, ways: dict[str, Search], users: list[User], link: Link, k: int, size: int, seconds: float
) -> list[Point]:
    """All ways in turns, user by user, forth and back; every vector is the truth, found before and not counted.

    Raises RuntimeError where int8 rows with bounds give another answer than every vector.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    recall: dict[str, list[float]] = {name: [] for name in ways}
    until = time.perf_counter() + seconds * len(ways)
    for n, user in enumerate(users):
        if n >= 3 and time.perf_counter() > until:
            break
        truth = set(ways["every vector"](user, link, k).tolist())
        for name, search in list(ways.items()) if n % 2 else reversed(ways.items()):
            started = time.perf_counter()
            found = search(user, link, k)
            taken[name].append(time.perf_counter() - started)
            recall[name].append(len(truth.intersection(found.tolist())) / len(truth))
    if min(recall["int8 rows"]) < 1:
        raise RuntimeError(f"int8 rows lost one of the {k} best of {size:,} {kind} tweets, link {link}")
    return [
        Point(kind, name, link, k, size, 1_000 * statistics.median(taken[name]), statistics.mean(recall[name]))
        for name in ways
    ]


def bytes_held() -> float:
    """Of memory that a tweet takes in a process, its id and its fp16 vector, where a table is just full."""
    tracemalloc.start()
    tweets = Table(DIM)
    tweets.rows([f"{_FIRST_ID + n}" for n in range(_HELD)])
    held: int = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / len(tweets.state_R)


def section(points: list[Point], indexed: list[Indexed], held: float) -> Section:
    """Times by size, what was retrieved, and by how much each grows."""
    largest = max(point.tweets for point in points)
    text = [
        f"Vectors of d = {DIM}, made: clustered ({TOPICS} topics in {TOPIC_DIM} dimensions, and noise) and plain "
        "(independent dimensions). One process, one thread, without a service; the median of as many as "
        f"{USERS} users, in turns. Every vector: fp16, as a request ranks. int8 rows: f + h within a bound from one "
        "pass over rounded vectors, then the true scores of those that may be among the best, checked to be the same. "
        "Up to 5 million tweets, and indexes with their recall: [experiments.md](experiments.md).",
        _times(points, ["every vector", "int8 rows"]),
        "![Time and memory by tweets](performance/discover.svg)",
    ]
    if indexed:
        text += ["Retrieved from an index by u + ubar, then ranked by the true scores:", _recalls(points, indexed)]
    return Section(
        "Ranking many tweets",
        "\n\n".join(text),
        _results(points, largest, held),
        {"discover.svg": figure(points, indexed, held)},
    )


def _line(points: list[Point], kind: Kind, way: str, link: Link, k: int) -> dict[int, Point]:
    """By size."""
    return {one.tweets: one for one in points if (one.kind, one.way, one.link, one.k) == (kind, way, link, k)}


def _times(points: list[Point], ways: list[str]) -> str:
    columns = [
        (way, link, k) for way in ways for link, k in (("sum", 3), ("sum", 100), ("softplus", 3), ("product", 3))
    ]
    rows = [
        [kind, f"{size:,}", *(f"{_line(points, kind, *column)[size].ms:,.2f}" for column in columns)]  # type: ignore[arg-type]
        for kind in KINDS
        for size in _line(points, kind, ways[0], "sum", 3)
    ]
    return table(["Vectors", "Tweets", *(f"{way}, {link}, K = {k}: ms" for way, link, k in columns)], rows)


def _recalls(points: list[Point], indexed: list[Indexed]) -> str:
    rows = []
    for one in indexed:
        exact = _line(points, one.kind, "int8 rows", "sum", 3)[one.tweets]
        cells = [one.kind, one.way, f"{one.tweets:,}", f"{one.seconds:,.1f}", f"{one.bytes_a_tweet:,.0f}"]
        found = _line(points, one.kind, one.way, "sum", 3)[one.tweets]
        recalls = [f"{_line(points, one.kind, one.way, link, k)[one.tweets].recall:.3f}" for link in LINKS for k in KS]
        rows.append([*cells, f"{found.ms:.2f}", f"{exact.ms:.2f}", *recalls])
    head = ["Vectors", "Index", "Tweets", "Built in s", "Bytes a tweet", "sum, K = 3: ms", "int8 rows: ms"]
    return table([*head, *(f"recall@{k}, {link}" for link in LINKS for k in KS)], rows)


def _results(points: list[Point], largest: int, held: float) -> list[Result]:
    rows = []
    for way in ("every vector", "int8 rows"):
        line = _line(points, "clustered", way, "sum", 3)
        grows = exponent({size: one.ms for size, one in line.items()})
        rows.append(result(f"exponent in tweets, {way}", grows, "", "itself", COMMAND, ("<=", 1.1)))
        for ms in _WITHIN_MS:
            rows.append(
                result(f"within {ms} ms, {way}", within(line, ms), "tweets", "clustered, sum, K = 3", COMMAND, None)
            )
    for kind in KINDS:
        both = [_line(points, kind, way, "sum", 3)[largest].ms for way in ("every vector", "int8 rows")]
        name = f"int8 rows, {kind}, {largest:,} tweets"
        rows.append(result(name, both[0] / both[1], "times as fast", "every vector", COMMAND, None))
    rows.append(result("memory of a tweet in a process", held, "bytes", f"its vector: {2 * DIM}", COMMAND, None))
    return rows


def within(line: dict[int, Point], ms: float) -> float:
    """So many tweets take so many ms, between the sizes that were measured; the largest where it takes less."""
    ms_and_size = np.array([(one.ms, size) for size, one in sorted(line.items())])
    ms_and_size[:, 0] = np.maximum.accumulate(ms_and_size[:, 0])  # noise may have a larger one faster
    logs = np.log(ms_and_size).T
    return float(np.exp(np.interp(math.log(ms), *logs)))


def figure(points: list[Point], indexed: list[Indexed], held: float) -> Figure:
    """Log-log: ms a user of either kind, link sum, K = 3; and megabytes."""
    made = Figure(figsize=(12, 4), layout="constrained")
    *times, memory = made.subplots(1, 3)
    for axes, kind in zip(times, KINDS, strict=True):
        for way in dict.fromkeys(one.way for one in points if one.kind == kind):
            line = _line(points, kind, way, "sum", 3)
            axes.loglog(list(line), [one.ms for one in line.values()], marker="o", label=way)
        axes.set_title(f"{kind} vectors")
        axes.set_ylabel("ms")
    sizes = list(_line(points, "clustered", "every vector", "sum", 3))
    for way, each in (("every vector", held), ("int8 rows", held + DIM)):
        memory.loglog(sizes, [each * size / 1e6 for size in sizes], marker="o", label=way)
    for way in dict.fromkeys(one.way for one in indexed):
        own = {one.tweets: one.bytes_a_tweet for one in indexed if one.way == way}
        memory.loglog(list(own), [each * size / 1e6 for size, each in own.items()], marker=".", label=way)
    memory.set_ylabel("MB")
    for axes in (*times, memory):
        axes.set_xlabel("tweets")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return made


if __name__ == "__main__":
    main()
