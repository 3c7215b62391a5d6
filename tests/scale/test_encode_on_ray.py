"""Bulk encoding on a real Ray cluster of three nodes on loopback; workers, the driver and a node are killed."""

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
from tempfile import gettempdir
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sqlalchemy import delete, func, insert, select, update

from contract.environment import StoreSettings
from contract.tables import Tweet, TweetVector
from contract.transactions import changing
from contract.vectors import VectorStore
from tests.conftest import ROOT, copied_stores, wait_until
from tests.processes import environment_of
from training.stores import Stores, with_stores

pytestmark = pytest.mark.timeout(580)

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

DEADLY = """
import os, pathlib, sys
from contract.artifact import load
from training.encoding.engines import Cluster
from training.encoding import on_ray
on_ray._RETRIES = 3
class Deadly:
    def __reduce__(self):
        return os.abort, ()  # of who unpickles it
list(on_ray.encode_on_ray([Deadly()], load(pathlib.Path(sys.argv[1])), Cluster("local", 1)))
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


@pytest.fixture(scope="module")
def stores(trained_embedded: StoreSettings) -> Iterator[StoreSettings]:
    """Tweets with pictures that take a worker some time to decode."""
    with copied_stores(trained_embedded) as settings:
        with_stores(settings, add_tweets)
        yield settings


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


@pytest.fixture(scope="module")
def in_this_process(stores: StoreSettings) -> dict[str, bytes]:
    """The vectors that every other way must give, to the last bit."""
    forget(stores)
    assert encode(stores)["encoded"] == TWEETS
    return vectors(stores)


@pytest.fixture
def nodes(stores: StoreSettings) -> Iterator[Nodes]:
    with three_nodes(stores) as started:
        yield started


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


def test_a_node_is_killed_on_the_way(stores: StoreSettings, nodes: Nodes, in_this_process: dict[str, bytes]) -> None:
    forget(stores)
    process = command(stores, *on_cluster(nodes))
    before = begun(stores, nodes, process)
    assert before < TWEETS * 4 / 5
    os.kill(nodes.raylets[2], signal.SIGKILL)
    answer = finished(process)
    assert (answer["encoded"], answer["known"]) == (TWEETS, 0)
    assert vectors(stores) == in_this_process
    times = nodes.encodings()
    assert sorted(times) == list(range(TWEETS // SHARD))
    assert times.total() <= TWEETS // SHARD + IN_FLIGHT


def test_a_worker_then_the_driver_is_killed_and_the_next_run_goes_on(
    stores: StoreSettings, nodes: Nodes, in_this_process: dict[str, bytes]
) -> None:
    forget(stores)
    process = command(stores, *on_cluster(nodes))
    begun(stores, nodes, process)
    (worker,) = nodes.workers(nodes.raylets[1])
    worker.kill()
    wait_until(lambda: not worker.is_running(), 10)
    wait_until(lambda: stored(stores) >= TWEETS / 2, 200)
    assert process.poll() is None
    process.kill()
    process.communicate()
    before = stored(stores)
    assert TWEETS / 2 <= before < TWEETS
    answer = encode(stores, *on_cluster(nodes))
    assert (answer["encoded"], answer["known"]) == (TWEETS - before, before)
    assert vectors(stores) == in_this_process
    assert nodes.encodings().total() <= TWEETS // SHARD + 3 * IN_FLIGHT


def test_parquet_by_a_cluster_is_parquet_by_this_process(stores: StoreSettings, nodes: Nodes, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(picture, "PNG")
    rows = [{"tweet_id": f"p{n}", "text": f"Lake {n}.", "image": picture.getvalue()} for n in range(40)]
    rows += [{**rows[3]}, {"tweet_id": "bad", "text": "", "image": b"no picture"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=10)
    (model,) = stores.models_dir.iterdir()
    given = [model.name, "--from", str(tmp_path / "in.parquet"), "--rejects", str(tmp_path / "rejects")]
    here = encode(stores, *given, "--to", str(tmp_path / "here"))
    listed = (tmp_path / "rejects").read_bytes()
    there = encode(stores, *given, "--to", str(tmp_path / "there"), *on_cluster(nodes))
    assert (tmp_path / "rejects").read_bytes() == listed
    assert (here["encoded"], here["rejected"]) == (there["encoded"], there["rejected"]) == (40, {"in": 2})
    files = sorted(path.name for path in (tmp_path / "here").glob("[!.]*"))
    assert len(files) == 7
    assert sorted(path.name for path in (tmp_path / "there").glob("[!.]*")) == files
    for name in files:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_a_shard_that_kills_its_workers_ends_the_command_and_no_model_is_left(
    stores: StoreSettings, tmp_path: Path
) -> None:
    (model,) = stores.models_dir.iterdir()
    folders = {"TMPDIR": str(tmp_path), "RAY_TMPDIR": gettempdir()}
    done = subprocess.run(
        [sys.executable, "-c", DEADLY, str(model)],
        cwd=ROOT,
        env=environment_of(stores) | LOOPBACK | folders,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "training.errors.ClusterFailed: a Ray worker failed (" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.glob("encoder*"))


def test_where_there_is_no_cluster_one_line_says_so(stores: StoreSettings) -> None:
    forget(stores)
    for address in ("127.0.0.1:1", "nowhere"):
        process = command(stores, "--ray", address)
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, output) == (1, "")
        assert errors.startswith(f"error: no Ray cluster at {address} (")
        assert errors.count("\n") == 1
