"""A service process to measure: a small network, a model of d = 400, made users and tweets in Redis, as many as wanted.

    with made_site() as site: ...

The process is `python -m benchmarks.site`: the service with GET /constant, which answers a constant list, and with what
benchmarks/floors.py adds.
"""

import asyncio
import logging.config
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt
import uvicorn
from alembic.config import Config

from alembic import command
from benchmarks.floors import add_floors
from contract.embedded import open_store, redis_server
from contract.environment import StoreSettings
from contract.graph import OnlineGraph, TimelineEntry, UserState, to_ms
from contract.keyspace import Keyspace
from contract.vectors import VectorStore
from service.main import create_app
from service.memory import arrange_heaps
from service.serving import LOGGING, server_config
from service.settings import Settings
from training.importer import import_dataset
from training.progress import terminal
from training.retrain import retrain
from training.settings import BackboneName, TrainingSettings
from training.stores import with_stores
from training.synthesize import SynthesisSettings, synthesize

DIM = 400
AUTHOR = "u0001"
"""A user of the made network."""
_READY_SECONDS = 60
_CHUNK = 2_000


@dataclass(frozen=True)
class Group:
    """Made readers who follow so many of so many made authors, each with so many tweets of their own.

    Of their followees' tweets the readers have retweeted so many.
    """

    name: str
    readers: int
    followees: int
    authors: int
    tweets: int
    retweets: int = 0

    def reader(self, n: int) -> str:
        """A reader's id."""
        return f"{self.name}-reader-{n}"

    def author(self, n: int) -> str:
        """An author's id."""
        return f"{self.name}-author-{n}"

    def tweet(self, author: int, n: int) -> str:
        """The id of an author's nth tweet."""
        return f"{self.name}-{author}-{n}"

    def paths(self, what: str = "recommendations") -> list[str]:
        """What each reader asks for."""
        return [f"/users/{self.reader(n)}/{what}?k=3" for n in range(self.readers)]


@dataclass(frozen=True)
class Site:
    """A service at work."""

    port: int
    stores: StoreSettings
    process: subprocess.Popen[bytes]


@contextmanager
def made_site(groups: list[Group], backbone: BackboneName = "tiny", **environment: str) -> Iterator[Site]:
    """Stores and a service of their own, gone afterwards; on REDIS_URL where that is set, else embedded."""
    with tempfile.TemporaryDirectory(prefix="itr") as folder:
        var = Path(folder)
        stores = StoreSettings(
            var_dir=var / "var", models_dir=var / "models", database_url=None, redis_namespace=f"bench{os.getpid()}"
        )
        with redis_server(stores):
            version = train(var / "network", stores, backbone)
            asyncio.run(fill(groups, version, stores))
            with serving(stores, environment) as site:
                yield site
            asyncio.run(empty(stores))


def train(network: Path, stores: StoreSettings, backbone: BackboneName) -> str:
    """A model of d = 400 on a small network; what it learnt does not matter here."""
    migrate(stores)
    synthesize(network, SynthesisSettings(users=60, tweets=80), terminal)
    with_stores(stores, lambda opened: import_dataset(network, opened, terminal, None))
    settings = TrainingSettings(backbone=backbone, dim=DIM, text_dim=16, word_dim=16, epochs=1)
    return retrain(settings, stores, terminal).version


def migrate(stores: StoreSettings) -> None:
    """Make the tables, in SQLite."""
    os.environ["VAR_DIR"] = str(stores.var_dir)
    os.environ.pop("DATABASE_URL", None)
    command.upgrade(Config("alembic.ini"), "head")


async def fill(groups: list[Group], version: str, stores: StoreSettings) -> None:
    """Vectors, timelines and follows of made authors and readers."""
    now = to_ms(datetime.now(UTC))
    with redis_server(stores) as (url, _):
        async with open_store(url, stores) as redis:
            graph, vectors = OnlineGraph(redis, stores.redis_namespace), VectorStore(redis, stores.redis_namespace)
            for group in groups:
                await fill_group(group, version, now, graph, vectors)


async def fill_group(group: Group, version: str, now_ms: int, graph: OnlineGraph, vectors: VectorStore) -> None:
    """One group, from a fixed seed."""
    generator = np.random.default_rng(0)
    authors = [group.author(n) for n in range(group.authors)]
    posts = [
        TimelineEntry(group.tweet(a, n), author, now_ms - (a * 31 + n * 1_009) % 1_000_000)
        for a, author in enumerate(authors)
        for n in range(group.tweets)
    ]
    for start in range(0, len(posts), _CHUNK):
        part = posts[start : start + _CHUNK]
        z_KD = generator.uniform(-1.7, 1.7, (len(part), DIM)).astype(np.float16)
        await vectors.put_tweets(version, [post.tweet_id for post in part], z_KD)
    users = [*authors, *(group.reader(n) for n in range(group.readers))]
    for start in range(0, len(users), _CHUNK):
        part_ids = users[start : start + _CHUNK]
        await vectors.put_users(version, part_ids, generator.normal(0, 0.05, (len(part_ids), DIM)).astype(np.float16))
    timelines = [
        UserState(author, [], {}, {}, posts[a * group.tweets : (a + 1) * group.tweets])
        for a, author in enumerate(authors)
    ]
    followed = [generator.choice(group.authors, group.followees, replace=False) for _ in range(group.readers)]
    follows = [
        UserState(group.reader(n), [authors[a] for a in followed[n]], dict.fromkeys(seen, now_ms), {}, [])
        for n, seen in enumerate(retweeted(group, followed, generator))
    ]
    await graph.replace_users([*timelines, *follows])


def retweeted(group: Group, followed: list[npt.NDArray[np.int64]], generator: np.random.Generator) -> list[list[str]]:
    """Each reader's retweets, of the numbers of those whom they follow."""
    every = group.followees * group.tweets
    drawn = [generator.choice(every, group.retweets, replace=False) for _ in followed]
    return [
        [group.tweet(authors[one // group.tweets], one % group.tweets) for one in ones]
        for authors, ones in zip(followed, drawn, strict=True)
    ]


async def empty(stores: StoreSettings) -> None:
    """Leave nothing in a Redis that is not ours."""
    with redis_server(stores) as (url, _):
        async with open_store(url, stores) as redis:
            for part in Keyspace(redis, stores.redis_namespace).parts:
                keys = [key async for key in part.redis.scan_iter(match=part.key("*"), count=10_000)]
                for start in range(0, len(keys), _CHUNK):
                    await part.redis.unlink(*keys[start : start + _CHUNK])


@contextmanager
def serving(stores: StoreSettings, environment: dict[str, str]) -> Iterator[Site]:
    """The process, ready."""
    port = free_port()
    told = {
        "PORT": str(port),
        "DEVICE": "cpu",
        "VAR_DIR": str(stores.var_dir),
        "MODELS_DIR": str(stores.models_dir),
        "REDIS_NAMESPACE": stores.redis_namespace,
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.site"], env=os.environ | told | environment, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not _ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the service did not start")
            time.sleep(0.1)
        yield Site(port, stores, process)
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """That nobody listens on yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def main() -> None:
    """Serve as `python -m service` does, with what it is compared with beside."""
    settings = Settings()
    logging.config.dictConfig(LOGGING)
    arrange_heaps()
    app = create_app(settings)

    @app.get("/constant")
    async def constant() -> list[str]:
        return ["t1", "t2", "t3"]

    add_floors(app)
    uvicorn.Server(server_config(app, settings)).run()


if __name__ == "__main__":
    main()
