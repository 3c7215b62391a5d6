"""Re-encoding in bulk: tweets/s by number of Ray workers, beside a bare loop of the same encoder.onnx, in one run.

    python -m benchmarks.scale --only encoding

Made photographs of 1,000 x 750 pixels, EfficientNet-Lite0 at its defaults, SQLite; Ray on this machine.
"""

import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.figure import Figure
from sqlalchemy import delete, insert, select, update

from benchmarks.results import Section, command, result, table
from benchmarks.site import migrate
from benchmarks.write_path import TEXT, bare_encoder, core_ms, per_second, photograph
from contract.artifact import Artifact, load
from contract.embedded import redis_server
from contract.environment import StoreSettings
from contract.preprocessing import decode_image
from contract.progress import T
from contract.runtime import OnnxModel
from contract.tables import Tweet, TweetVector
from contract.transactions import changing
from training.encoding import stored
from training.encoding.encoder import BATCH, Encoder
from training.encoding.engines import Cluster, engine
from training.encoding.shards import Encoded, Post, StoredShard
from training.encoding.vector_files import VectorFolder
from training.importer import import_dataset
from training.progress import terminal
from training.retrain import retrain
from training.settings import TrainingSettings
from training.stores import Stores, with_stores
from training.synthesize import SynthesisSettings, synthesize

COMMAND = command("scale --only encoding")
TWEETS = 384
SHARD = 16
"""Smaller than usual, so that the end, when workers have nothing left to do, is short."""
PICTURES = 32
WORKERS = (1, 2)
"""At most as many as there are cores here: of more, the first shards come back late, and the rest at once."""
ROUNDS = 2
CORES = len(os.sched_getaffinity(0))
_BARE_SECONDS = 4.0


@dataclass(frozen=True)
class Run:
    """One re-encoding: tweets a second once all workers are at work, and when the first shard was there."""

    rate: float
    first_seconds: float


def measure() -> Section:
    """All of it: some four minutes."""
    stored.SHARD = SHARD
    with made_stores() as (stores, exported):
        pictures = [photograph(seed) for seed in range(PICTURES)]
        bare: dict[int, list[float]] = {threads: [] for threads in range(1, CORES + 1)}
        here: list[Run] = []
        on_ray: dict[int, list[Run]] = {workers: [] for workers in WORKERS}
        for _ in range(ROUNDS):
            for threads, rates in bare.items():
                rates.append(bare_rate(exported, pictures, threads))
            here.append(re_encoded(stores, exported, None, 1))
            for workers, runs in on_ray.items():
                runs.append(re_encoded(stores, exported, Cluster("local", workers), workers))
        model = OnnxModel(exported, "cpu", threads=1)
        encode = bare_encoder(exported, pictures, model)
        size = exported.manifest.preprocessing.image_size
        alone = {
            "encoder": core_ms(lambda: encode(BATCH), BATCH, _BARE_SECONDS),
            "decoding and scaling": core_ms(lambda: decode_image(pictures[0], size), 1, _BARE_SECONDS / 2),
        }
        moved = with_stores(stores, lambda opened: bytes_a_tweet(opened, exported, model))
    return _section(bare, here, on_ray, alone, moved)


@contextmanager
def made_stores() -> Iterator[tuple[StoreSettings, Artifact]]:
    """Stores of their own with a model and some tweets with photographs."""
    with tempfile.TemporaryDirectory(prefix="itr") as folder:
        var = Path(folder)
        stores = StoreSettings(var_dir=var / "var", models_dir=var / "models", database_url=None, redis_url=None)
        with redis_server(stores):
            migrate(stores)
            synthesize(var / "network", SynthesisSettings(users=60, tweets=80), terminal)
            with_stores(stores, lambda opened: import_dataset(var / "network", opened, terminal, None))
            made = retrain(TrainingSettings(epochs=1), stores, terminal)
            with_stores(stores, add_tweets)
            yield stores, load(made.folder)


async def add_tweets(opened: Stores) -> None:
    """With the network's own, TWEETS in all; those have small pictures, and get photographs, too."""
    keys = [opened.blobs.put(photograph(seed)) for seed in range(PICTURES)]
    async with changing(opened.engine) as connection:
        there = list(await connection.scalars(select(Tweet.tweet_id)))
        author = await connection.scalar(select(Tweet.author_id).limit(1))
        for n, tweet_id in enumerate(there):
            mine = update(Tweet).where(Tweet.tweet_id == tweet_id)
            await connection.execute(mine.values(image_key=keys[n % PICTURES], text=TEXT))
        more = [
            {
                "tweet_id": f"more{n}",
                "author_id": author,
                "text": TEXT,
                "image_key": keys[n % PICTURES],
                "created_at": datetime.now(UTC),
            }
            for n in range(TWEETS - len(there))
        ]
        await connection.execute(insert(Tweet), more)


def bare_rate(exported: Artifact, pictures: list[bytes], threads: int) -> float:
    """Tweets a second of encoder.onnx alone, pictures decoded before."""
    encode = bare_encoder(exported, pictures, OnnxModel(exported, "cpu", threads=threads))
    return per_second(lambda: encode(BATCH), BATCH, _BARE_SECONDS)


def re_encoded(stores: StoreSettings, exported: Artifact, cluster: Cluster | None, workers: int) -> Run:
    """All tweets, from the database to the database, by `python -m training encode`'s own function."""
    stamps: list[float] = []

    def clock(items: Iterable[T], _total: int, _label: str) -> Iterator[T]:
        for item in items:
            yield item
            stamps.append(time.perf_counter())

    async def encode(opened: Stores) -> None:
        async with changing(opened.engine) as connection:
            await connection.execute(delete(TweetVector))
        by = engine(exported, OnnxModel(exported, "cpu"), cluster)
        await stored.encode_missing(opened, exported.manifest.version, by, clock)

    began = time.perf_counter()
    with_stores(stores, encode)
    rest = len(stamps) - workers
    return Run(rest * SHARD / (stamps[-1] - stamps[workers - 1]), stamps[0] - began)


async def bytes_a_tweet(opened: Stores, exported: Artifact, model: OnnxModel) -> dict[str, float]:
    """What a tweet costs to move: its picture, its row to a worker, its vector back, and its row of Parquet."""
    async with opened.engine.connect() as connection:
        rows = select(Tweet.tweet_id, Tweet.text, Tweet.image_key).limit(stored.SHARD)
        posts = [Post(n, *row) for n, row in enumerate(await connection.execute(rows))]
    shard = StoredShard(0, posts, opened.blobs)
    encoded = Encoder(exported, model, 1).encode(shard)
    sizes = {
        "read of its picture": encoded.picture_bytes,
        "sent to a Ray worker": len(pickle.dumps(shard)),
        "sent back": len(pickle.dumps(encoded)),
        "its vector in SQL, and in Redis": encoded.z_KD.nbytes,
        "in a Parquet file": in_parquet(exported, encoded),
    }
    return {name: size / len(posts) for name, size in sizes.items()}


def in_parquet(exported: Artifact, encoded: Encoded) -> int:
    """Bytes of a shard's file."""
    with tempfile.TemporaryDirectory() as folder:
        VectorFolder(f"{folder}/out", exported.manifest, "measured").write(0, encoded.tweet_ids, encoded.z_KD, [])
        (file,) = Path(folder, "out").glob("*.parquet")
        return file.stat().st_size


def _section(
    bare: dict[int, list[float]],
    here: list[Run],
    on_ray: dict[int, list[Run]],
    alone: dict[str, float],
    moved: dict[str, float],
) -> Section:
    shares = {"in this process": _share(here, bare[CORES])}
    rates = {"in this process": _rate(here)}
    for workers, runs in on_ray.items():
        name = f"{workers} Ray worker{'s' if workers > 1 else ''}"
        shares[name], rates[name] = _share(runs, bare[min(workers, CORES)]), _rate(runs)
    one_core = statistics.median(bare[1])
    floor = 1_000 / sum(alone.values()) / one_core
    first = statistics.median(run.first_seconds for runs in on_ray.values() for run in runs)
    text = "\n\n".join(
        [
            f"{TWEETS} tweets with photographs of 1,000 x 750 pixels, EfficientNet-Lite0, SQLite; medians of {ROUNDS} "
            "rounds, in turns with a loop of encoder.onnx over pictures that are decoded already, at the same batch "
            f"size ({BATCH}) and on as many cores as there are workers, at most the machine's {CORES}. Counted from "
            f"when all workers are at work; the first vectors of a cluster of its own come after {first:.0f} s.",
            table(
                ["Who encodes", "Tweets/s", "Of the bare loop"],
                [[name, f"{rates[name]:.1f}", f"{share:.2f}"] for name, share in shares.items()],
            ),
        ]
    )
    against = f"a loop of ONNX Runtime at batch {BATCH} on as many cores, pictures decoded before"
    rows = [
        result(f"re-encoding, {name}", share, "of the bare loop", against, COMMAND, None)
        for name, share in shares.items()
    ]
    rows.append(result("could it do nothing but decode and encode", floor, "of the bare loop", against, COMMAND, None))
    rows.append(result("bare loop, one core", one_core, "tweets/s", "", COMMAND, None))
    rows += [result(f"re-encoding, {name}", rate, "tweets/s", "", COMMAND, None) for name, rate in rates.items()]
    rows.append(result("a cluster of its own, until the first shard is back", first, "s", "", COMMAND, None))
    rows += [result(f"a tweet: {name}", ms, "ms of a core", "", COMMAND, None) for name, ms in alone.items()]
    rows += [result(f"a tweet: {name}", size, "bytes", "", COMMAND, None) for name, size in moved.items()]
    return Section("Re-encoding in bulk", text, rows, {"encoding.svg": figure(shares)})


def _rate(runs: list[Run]) -> float:
    return statistics.median(run.rate for run in runs)


def _share(runs: list[Run], beside: list[float]) -> float:
    return statistics.median(run.rate / rate for run, rate in zip(runs, beside, strict=True))


def figure(shares: dict[str, float]) -> Figure:
    """A bar for each."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(shares)[::-1], list(shares.values())[::-1])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("tweets/s as a share of the bare loop on as many cores")
    return figure
