"""Bulk encoding on a real Ray cluster of three nodes on loopback; workers, the driver and a node are killed."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from contract.environment import StoreSettings
from tests.conftest import ROOT, copied_stores, wait_until
from tests.processes import environment_of
from tests.ray_nodes import (
    IN_FLIGHT,
    LOOPBACK,
    SHARD,
    TWEETS,
    Nodes,
    add_tweets,
    begun,
    command,
    encode,
    encode_while_a_node_is_killed,
    forget,
    on_cluster,
    stored,
    three_nodes,
    vectors,
)
from training.stores import with_stores

pytestmark = pytest.mark.timeout(580)

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


@pytest.fixture(scope="module")
def stores(trained_embedded: StoreSettings) -> Iterator[StoreSettings]:
    """Tweets with pictures that take a worker some time to decode."""
    with copied_stores(trained_embedded) as settings:
        with_stores(settings, add_tweets)
        yield settings


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


def test_a_node_is_killed_on_the_way(stores: StoreSettings, nodes: Nodes, in_this_process: dict[str, bytes]) -> None:
    forget(stores)
    again = encode_while_a_node_is_killed(stores, nodes)
    assert vectors(stores) == in_this_process
    assert again <= IN_FLIGHT


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
