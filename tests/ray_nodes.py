"""A real Ray cluster of three nodes on loopback, and `encode` on it, which is killed in the tests that use this."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from sqlalchemy import delete, func, insert, select, update

from contract.environment import StoreSettings
from contract.tables import Tweet, TweetVector
from contract.transactions import changing
from contract.vectors import VectorStore
from tests.conftest import ROOT, wait_until
from tests.processes import environment_of
from training.stores import Stores, with_stores

TWEETS, SHARD = 320, 8
IN_FLIGHT = 8
"""Shards that a worker or a node can have begun, or finished and not given back yet, when it is killed."""

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}

NODES = """
import json, sys
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1"}
cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
nodes = [cluster.head_node, cluster.add_node(**node), cluster.add_node(**node)]
raylets = [one.all_processes["raylet"][0].process.pid for one in nodes]
told = {"address": cluster.address, "raylets": raylets, "session": nodes[0].get_session_dir_path()}
print(json.dumps(told), flush=True)
sys.stdin.read()
cluster.shutdown()
"""

ENCODE = f"""
import sys, training.__main__, training.encoding.stored
training.encoding.stored.SHARD = {SHARD}
sys.exit(training.__main__.main(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Nodes:
    """Three of them, each with a raylet of its own; the first is the head."""

    address: str
    raylets: list[int]
    session: Path

    def workers(self, raylet: int) -> list[psutil.Process]:
        """Of a node: processes that encode."""
        try:
            children = psutil.Process(raylet).children()
        except psutil.NoSuchProcess:
            return []
        return [child for child in children if child.is_running() and "MapWorker" in "".join(child.cmdline()[:1])]

    def encodings(self) -> Counter[int]:
        """How often each shard was encoded, by what all workers of all nodes wrote down so far."""
        logs = [path.read_text("utf-8") for path in (self.session / "logs").glob("worker-*.err")]
        return Counter(int(n) for log in logs for n in re.findall(r"encoded shard (\d+):", log))


async def add_tweets(opened: Stores) -> None:
    generator = np.random.default_rng(0)
    keys = []
    for _ in range(3):
        file = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (1_500, 2_000, 3), dtype=np.uint8)).save(file, "PNG")
        keys.append(opened.blobs.put(file.getvalue()))
    async with changing(opened.engine) as connection:
        author = await connection.scalar(select(Tweet.author_id).limit(1))
        there = await connection.scalar(select(func.count()).select_from(Tweet)) or 0
        await connection.execute(update(Tweet).values(image_key=keys[0]))
        rows = [
            {
                "tweet_id": f"more{n}",
                "author_id": author,
                "text": f"Number {n} of many. #calm #lake{n % 7}",
                "image_key": keys[n % 3],
                "created_at": datetime.now(UTC),
            }
            for n in range(TWEETS - there)
        ]
        await connection.execute(insert(Tweet), rows)


@contextmanager
def three_nodes(stores: StoreSettings) -> Iterator[Nodes]:
    environment = environment_of(stores) | LOOPBACK
    process = subprocess.Popen(
        [sys.executable, "-c", NODES],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    started: list[psutil.Process] = []
    try:
        line = next(line for line in process.stdout if line.startswith("{"))
        started = psutil.Process(process.pid).children(recursive=True)
        told = json.loads(line)
        yield Nodes(told["address"], told["raylets"], Path(told["session"]))
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()
        for left in started:
            if left.is_running():
                left.kill()


def command(stores: StoreSettings, *arguments: str) -> "subprocess.Popen[str]":
    environment = environment_of(stores) | LOOPBACK
    return subprocess.Popen(
        [sys.executable, "-c", ENCODE, "encode", *arguments, "--json"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    answer: dict[str, Any] = json.loads(output)  # nothing else may be there
    return answer


def encode(stores: StoreSettings, *arguments: str) -> dict[str, Any]:
    return finished(command(stores, *arguments))


def on_cluster(nodes: Nodes) -> list[str]:
    return ["--ray", nodes.address, "--workers", "3"]


def vectors(stores: StoreSettings) -> dict[str, bytes]:
    """In SQL, which has one row an id; Redis must have the same."""

    async def read(opened: Stores) -> dict[str, bytes]:
        async with opened.engine.connect() as connection:
            rows = {
                row.tweet_id: row.vector
                for row in await connection.execute(select(TweetVector.tweet_id, TweetVector.vector))
            }
        online = VectorStore(opened.redis, opened.namespace)
        (model,) = stores.models_dir.iterdir()
        found, z_KD = await online.tweets(model.name, sorted(rows), 16)
        assert {tweet_id: z_D.tobytes() for tweet_id, z_D in zip(found, z_KD, strict=True)} == rows
        assert {tweet_id async for tweet_id in online.tweet_ids()} == rows.keys()
        return rows

    return with_stores(stores, read)


def stored(stores: StoreSettings) -> int:
    """Vectors so far."""

    async def count(opened: Stores) -> int:
        async with opened.engine.connect() as connection:
            return await connection.scalar(select(func.count()).select_from(TweetVector)) or 0

    return with_stores(stores, count)


def forget(stores: StoreSettings) -> None:
    """All vectors, as if nothing had been encoded."""

    async def clear(opened: Stores) -> None:
        async with changing(opened.engine) as connection:
            await connection.execute(delete(TweetVector))
        online = VectorStore(opened.redis, opened.namespace)
        (model,) = stores.models_dir.iterdir()
        await online.forget_tweets([model.name], sorted({tweet_id async for tweet_id in online.tweet_ids()}))

    with_stores(stores, clear)


def begun(stores: StoreSettings, nodes: Nodes, process: "subprocess.Popen[str]") -> int:
    """Wait until a fifth is stored and every node encodes; how many are stored."""

    def under_way() -> bool:
        assert process.poll() is None, process.communicate()
        return stored(stores) >= TWEETS / 5 and all(map(nodes.workers, nodes.raylets))

    wait_until(under_way, 200)
    return stored(stores)


def encode_while_a_node_is_killed(stores: StoreSettings, nodes: Nodes) -> int:
    """All tweets, none of which has a vector; how many encodings of shards there were beyond one each."""
    process = command(stores, *on_cluster(nodes))
    before = begun(stores, nodes, process)
    assert before < TWEETS * 4 / 5
    os.kill(nodes.raylets[2], signal.SIGKILL)
    answer = finished(process)
    assert (answer["encoded"], answer["known"]) == (TWEETS, 0)
    times = nodes.encodings()
    assert sorted(times) == list(range(TWEETS // SHARD))
    return times.total() - len(times)
