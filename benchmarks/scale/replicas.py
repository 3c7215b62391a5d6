"""One replica beside two on the same stores, and pictures on a server that speaks S3 beside a folder.

    python -m benchmarks.scale --only replicas

The load is one process beside the replicas, on the same cores. Each pair is measured in turns, in one run.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np

from benchmarks.load import Load, load
from benchmarks.results import Section, command, result, table
from benchmarks.site import AUTHOR, Group, Site, free_port, made_site, serving
from benchmarks.write_path import TEXT, photograph

COMMAND = f"{command('scale')} --only replicas"
ROUNDS = 5
SECONDS = 4.0
CONNECTIONS = 16
CLIENTS = 4
OF_THE_PEAK = 0.6
"""The rate at which the 99th percentile is taken, of what one replica can do."""
READERS = Group("replicas", readers=400, followees=50, authors=400, tweets=20)
BUCKET = "pictures"
CORES = os.cpu_count() or 1
READS = (
    f"{READERS.followees} followees, {READERS.followees * READERS.tweets:,} candidates, d = 400; the load takes one of "
    f"the {CORES} cores, Redis is embedded. {ROUNDS} rounds of {SECONDS:g} s in turns, medians. With a core a "
    "replica and one for the load, two would be worth more than they can be here."
)
POSTS = (
    f"POST /tweets, {CLIENTS} clients, photographs of 1,000 x 750 pixels, each a new one, a tiny encoder, so that what "
    "the pictures' store takes is seen. moto is a server in Python on the same cores: a real one takes less of them "
    "and is farther away."
)


@dataclass(frozen=True)
class Reads:
    """Of one round: as many as there can be, and at a rate that one replica can do."""

    peak: Load
    at_rate: Load


def measure() -> Section:
    """Some four minutes."""
    rounds: dict[int, list[Reads]] = {1: [], 2: []}
    with made_site([READERS]) as site, serving(site.stores, {}) as other:
        ports = {1: [site.port], 2: [site.port, other.port]}
        for port in ports[2]:  # each holds what it reads before it counts
            asyncio.run(load(port, READERS.paths(), CONNECTIONS, SECONDS))
        peak = asyncio.run(spread(ports[1], None)).rate
        for _ in range(ROUNDS):
            for replicas, of_them in ports.items():
                at_rate = asyncio.run(spread(of_them, OF_THE_PEAK * peak))
                rounds[replicas].append(Reads(asyncio.run(spread(of_them, None)), at_rate))
        with object_store() as (url, variables), on_s3(site, url, variables) as there:
            posts = {"a folder": list[float](), "S3 (moto)": list[float]()}
            for n in range(ROUNDS):
                posts["a folder"].append(asyncio.run(post(site, f"folder-{n}")))
                posts["S3 (moto)"].append(asyncio.run(post(there, f"s3-{n}")))
    return _section(rounds, peak, posts)


async def spread(ports: list[int], rate: float | None) -> Load:
    """Connections are shared evenly; each request is any reader's, so that all replicas come to hold all."""
    generator = np.random.default_rng(len(ports))
    each = CONNECTIONS // len(ports)
    loads = await asyncio.gather(
        *(
            load(port, generator.permutation(READERS.paths()).tolist(), each, SECONDS, rate and rate / len(ports))
            for port in ports
        )
    )
    requests = sum(one.requests for one in loads)
    return Load(requests, max(one.seconds for one in loads), [ms for one in loads for ms in one.latencies])


@contextmanager
def object_store() -> Iterator[tuple[str, dict[str, str]]]:
    """moto's server with an empty bucket: its URL for pictures, and the variables that name the server."""
    port = free_port()
    arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _made(endpoint):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("moto's server did not start")
            time.sleep(0.1)
        keys = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
        yield f"s3://{BUCKET}/posted", {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1", **keys}
    finally:
        process.terminate()
        process.wait()


def _made(endpoint: str) -> bool:
    try:
        return httpx.put(f"{endpoint}/{BUCKET}").is_success
    except httpx.TransportError:
        return False


@contextmanager
def on_s3(site: Site, url: str, variables: dict[str, str]) -> Iterator[Site]:
    """Another replica of the same stores but for new pictures."""
    with serving(site.stores, {"BLOB_URL": url, **variables}) as there:
        yield there


async def post(site: Site, name: str) -> float:
    """Tweets a second, each with a picture that is not there yet. Raises RuntimeError at an answer but 201."""
    picture, posted = photograph(0), 0
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.port}", timeout=60) as client:

        async def one(number: int) -> None:
            nonlocal posted
            mine = 0
            while time.perf_counter() < started + SECONDS:
                another = picture + f"{name}-{number}-{mine}".encode()  # after its end, where nobody looks
                form = {"author_id": AUTHOR, "text": TEXT}
                answer = await client.post("/tweets", data=form, files={"image": another})
                if answer.status_code != 201:
                    raise RuntimeError(f"{answer.status_code}: {answer.text}")
                mine, posted = mine + 1, posted + 1

        started = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(CLIENTS)))
        return posted / (time.perf_counter() - started)


def _section(rounds: dict[int, list[Reads]], peak: float, posts: dict[str, list[float]]) -> Section:
    more = statistics.median(two.peak.rate / one.peak.rate for one, two in zip(rounds[1], rounds[2], strict=True))
    p99 = {
        replicas: statistics.median(one.at_rate.quantile_ms(0.99) for one in some) for replicas, some in rounds.items()
    }
    ratio = statistics.median(
        two.at_rate.quantile_ms(0.99) / one.at_rate.quantile_ms(0.99)
        for one, two in zip(rounds[1], rounds[2], strict=True)
    )
    folder, s3 = posts.values()
    of_a_folder = statistics.median(there / here for here, there in zip(folder, s3, strict=True))
    text = "\n\n".join(
        [
            READS,
            table(
                ["Replicas", "Requests/s", f"p99 ms at {OF_THE_PEAK:g} of one's peak"],
                [
                    [str(replicas), f"{statistics.median(one.peak.rate for one in some):,.0f}", f"{p99[replicas]:.1f}"]
                    for replicas, some in rounds.items()
                ],
            ),
            POSTS,
            table(
                ["Pictures", "Tweets/s"], [[name, f"{statistics.median(rates):.1f}"] for name, rates in posts.items()]
            ),
        ]
    )
    beside = f"one replica, load on one of {CORES} cores"
    return Section(
        "Replicas",
        text,
        [
            result("GET recommendations, 2 replicas, requests/s", more, "of one's", beside, COMMAND, None),
            result("GET recommendations, 1 replica, requests/s", peak, "1/s", "", COMMAND, None),
            result("GET recommendations, 2 replicas, p99 at the same rate", ratio, "of one's", beside, COMMAND, None),
            result(
                "GET recommendations, 1 replica, p99", p99[1], "ms", f"at {OF_THE_PEAK:g} of its peak", COMMAND, None
            ),
            result("GET recommendations, 2 replicas, p99", p99[2], "ms", "at the same rate", COMMAND, None),
            result(
                "POST /tweets, pictures on moto's S3", of_a_folder, "of a folder's", "the same in turns", COMMAND, None
            ),
        ],
    )
