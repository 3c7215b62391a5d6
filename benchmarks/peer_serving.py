"""GET recommendations beside LibRecommender's and Cornac's serving, each with a model of its own, in one run.

    python -m venv var/peers
    var/peers/bin/pip install -r benchmarks/peer_servers/requirements.txt
    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive python -m benchmarks.peer_serving --peers-python var/peers/bin/python

The same users, items and retweets for all; each has one worker, and the same load asks them in turns. Prints Markdown.
"""

import argparse
import asyncio
import csv
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from benchmarks.load import Load, Post, load
from benchmarks.peer_processes import Peers, PeersMissing, redis_on_a_port
from benchmarks.read_path import quantile_ms
from benchmarks.results import Result, Section, command, result, table
from benchmarks.site import DIM, Group, Site, made_site
from contract.embedded import open_redis, redis_server
from contract.graph import OnlineGraph

COMMAND = command("peer_serving --peers-python var/peers/bin/python")
ROUNDS = 3
CONNECTIONS = 16
K = 3
FEWER = Group("fewer", readers=200, followees=6, authors=103, tweets=171, retweets=24)
MORE = Group("more", readers=200, followees=6, authors=456, tweets=171, retweets=24)
LIBRECOMMENDER_DIM = 128
OTHERS = 1_000
"""Who ask for nothing: each item has three retweets by them, so that the peers know it."""


@dataclass(frozen=True)
class Server:
    """One to ask, and what came of it, a round each. A constant endpoint has no items, and no framework but itself."""

    name: str
    port: int
    asked: list[str | Post]
    framework: str = ""
    items: int = 0
    dim: int = 0
    against: str = ""
    """Which server of ours is asked right before it."""
    before: list[Load] = field(default_factory=list)
    closed: list[Load] = field(default_factory=list)
    opened: list[Load] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Median requests a second."""
        return statistics.median(load.rate for load in self.closed)

    @property
    def slower(self) -> float:
        """How many times as fast ours is: the median of the rounds."""
        return statistics.median(a.rate / b.rate for a, b in zip(self.before, self.closed, strict=True))

    def times(self, other: "Server") -> float:
        """How many times the other's requests a second: the median of the rounds."""
        return statistics.median(a.rate / b.rate for a, b in zip(self.closed, other.closed, strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each of the rounds")
    parser.add_argument("--peers-python", type=Path, required=True, help="of the environment with the peers")
    options = parser.parse_args()
    try:
        print(measure(options.seconds, options.peers_python))
    except PeersMissing as error:
        raise SystemExit(f"error: {error}") from None


def measure(seconds: float, peers_python: Path) -> Section:
    """All of it: some four minutes. Raises PeersMissing."""
    peers = Peers(peers_python)
    with servers_of(peers) as servers:
        sizes = {name: answer_size(server) for name, server in servers.items()}
        for server in servers.values():
            asyncio.run(load(server.port, server.asked, CONNECTIONS, seconds))
        for _ in range(ROUNDS):
            for server in servers.values():
                if server.against:
                    beside = servers[server.against]
                    server.before.append(asyncio.run(load(beside.port, beside.asked, CONNECTIONS, seconds)))
                server.closed.append(asyncio.run(load(server.port, server.asked, CONNECTIONS, seconds)))
        for _ in range(ROUNDS):
            for server in (one for one in servers.values() if one.framework):
                half = asyncio.run(load(server.port, server.asked, CONNECTIONS, 2 * seconds, server.rate / 2))
                server.opened.append(half)
    return Section("Peers' serving", _text(servers, sizes, seconds), _results(servers))


@contextmanager
def servers_of(peers: Peers) -> Iterator[dict[str, Server]]:
    """All of them, running."""
    with ExitStack() as running, made_site([FEWER, MORE]) as site, redis_on_a_port() as redis_port:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="itrpeers")))
        told = {group.name: asyncio.run(write_retweets(group, site, folder)) for group in (FEWER, MORE)}
        sanic, flask = running.enter_context(peers.constants())
        servers = {
            "ours": ours(FEWER, site),
            "FastAPI": Server("a constant of our app's, FastAPI's way", site.port, ["/constant"]),
            "Sanic": Server("a constant of Sanic's", sanic, [Post("/constant", _body(0))], against="FastAPI"),
            "Flask": Server("a constant of Flask's and gunicorn's", flask, ["/constant"], against="FastAPI"),
        }
        for database, dim in enumerate((LIBRECOMMENDER_DIM, DIM)):
            port = running.enter_context(
                peers.librecommender(told[FEWER.name], folder / f"als{dim}", dim, redis_port, database)
            )
            asked = [Post("/embed/recommend", _body(n)) for n in range(FEWER.readers)]
            servers[f"LibRecommender {dim}"] = Server(
                "LibRecommender, ALS", port, [*asked], "Sanic", items_of(FEWER), dim, "ours"
            )
        against = {FEWER.name: "ours", MORE.name: "ours, more"}
        for group in (FEWER, MORE):
            port = running.enter_context(peers.cornac(told[group.name], folder / f"bpr-{group.name}", DIM))
            asked_by_path = [f"/recommend?uid={n}&k={K}" for n in range(group.readers)]
            servers[f"Cornac {group.name}"] = Server(
                "Cornac, BPR", port, [*asked_by_path], "Flask", items_of(group), DIM, against[group.name]
            )
        servers["ours, more"] = ours(MORE, site)
        yield servers


def ours(group: Group, site: Site) -> Server:
    """After each path was asked for, which fills what the service keeps. Raises RuntimeError at too few candidates."""
    wanted = group.followees * group.tweets - group.retweets
    with httpx.Client(base_url=f"http://127.0.0.1:{site.port}", timeout=60) as client:
        found = {client.get(path).json()["candidates"] for path in group.paths()}
    if found != {wanted}:
        raise RuntimeError(f"{found} candidates instead of {wanted}")
    return Server("ours, AMNL", site.port, [*group.paths()], "FastAPI", items_of(group), DIM)


async def write_retweets(group: Group, site: Site, folder: Path) -> Path:
    """A file of (user, item) for the peers: the readers' retweets as our service knows them, and those of others."""
    number = {group.tweet(a, n): a * group.tweets + n for a in range(group.authors) for n in range(group.tweets)}
    generator = np.random.default_rng(0)
    path = folder / f"{group.name}.csv"
    with redis_server(site.stores) as (url, _), path.open("w", newline="") as file:
        rows = csv.writer(file)
        async with open_redis(url) as redis:
            graph = OnlineGraph(redis, site.stores.redis_namespace)
            for reader in range(group.readers):
                seen = (await graph.user(group.reader(reader))).seen_tweet_ids
                rows.writerows((reader, number[tweet]) for tweet in sorted(seen))
        for item in range(len(number)):
            others = generator.choice(OTHERS, 3, replace=False)
            rows.writerows((group.readers + other, item) for other in others)
    return path


def items_of(group: Group) -> int:
    """All tweets of its authors."""
    return group.authors * group.tweets


def answer_size(server: Server) -> int:
    """Bytes of the body. Raises RuntimeError where users get fewer items than asked for, or all get the same ones."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        answers = [
            (client.get(asked) if isinstance(asked, str) else client.post(asked.path, content=asked.body))
            for asked in server.asked
        ]
    bodies = [answer.raise_for_status().content for answer in answers]
    if server.items and not all(_has_items(answer.json()) for answer in answers):
        raise RuntimeError(f"{server.name} gives no list of {K} items: {bodies[0].decode()}")
    if server.items and len(set(bodies)) < len(bodies) / 2:
        raise RuntimeError(f"{server.name} gives most users the same: {bodies[0].decode()}")
    return len(bodies[0])


def _has_items(answer: dict[str, object]) -> bool:
    return any(isinstance(value, list) and len(value) == K for value in answer.values())


def _body(user: int) -> bytes:
    return f'{{"user": {user}, "n_rec": {K}}}'.encode()


def _text(servers: dict[str, Server], sizes: dict[str, int], seconds: float) -> str:
    head = ["Server", "Items", "d", "Requests/s", "Of its framework's constant", "p50 ms", "p99 ms", "Bytes"]
    ranked = FEWER.followees * FEWER.tweets - FEWER.retweets
    return "\n\n".join(
        [
            f"{CONNECTIONS} connections, k = {K}, one worker each, {FEWER.readers} readers in turn, {FEWER.followees} "
            f"followees and {FEWER.retweets} retweets each; median of {ROUNDS} rounds of {seconds:g} s, ours right "
            "before each. Latencies are of an open loop at half of each one's own requests/s.",
            table(head, [_row(server, servers, sizes[name]) for name, server in servers.items()]),
            f"What they do for an answer is not the same. Ours ranks the {ranked:,} tweets of the user's followees "
            "that the user has not retweeted, by a vector and by attention over followees; it knows what was posted, "
            "retweeted and followed a moment ago, and answers with scores, both parts of them, authors, times and a "
            "cursor. The peers answer with three ids out of all items, followed or not, as of the last training. "
            "LibRecommender looks 10 of 80 lists of them through (faiss) and leaves out those retweeted by then; "
            "Cornac ranks all of them exactly, here without leaving any out, which is its default.",
        ]
    )


def _row(server: Server, servers: dict[str, Server], size: int) -> list[str]:
    if not server.framework:
        return [server.name, "", "", f"{server.rate:,.0f}", "", "", "", str(size)]
    share = f"{server.times(servers[server.framework]):.2f}"
    quantiles = [f"{quantile_ms(server.opened, q):.1f}" for q in (0.5, 0.99)]
    return [
        server.name,
        f"{server.items:,}",
        str(server.dim),
        f"{server.rate:,.0f}",
        share,
        *quantiles,
        str(size),
    ]


def _results(servers: dict[str, Server]) -> list[Result]:
    fewer, more = (items_of(group) for group in (FEWER, MORE))
    sanic = f"LibRecommender {LIBRECOMMENDER_DIM}"
    rows = [
        (f"LibRecommender's serving, {fewer:,} items", sanic, (">=", 3.0)),
        (f"LibRecommender's serving, d = {DIM} as ours", f"LibRecommender {DIM}", None),
        (f"Cornac's serving, {fewer:,} items", f"Cornac {FEWER.name}", (">=", 30.0)),
        (f"Cornac's serving, {more:,} items", f"Cornac {MORE.name}", (">=", 30.0)),
        ("a constant of Sanic's", "Sanic", None),
        ("a constant of Flask's and gunicorn's", "Flask", None),
    ]
    return [
        result(
            f"requests/s beside {what}",
            servers[peer].slower,
            "times as fast",
            _described(servers[peer]),
            COMMAND,
            goal,
        )
        for what, peer, goal in rows
    ]


def _described(server: Server) -> str:
    return f"{server.name}, d = {server.dim}, one worker" if server.framework else server.name


if __name__ == "__main__":
    main()
