"""POST /tweets at 1, 8 and 32 clients, beside a bare loop of the encoder, in one run.

    python -m benchmarks.write_path

Made photographs of 1,000 x 750 pixels, EfficientNet-Lite0 at d = 400; SQLite and the embedded Redis. Prints Markdown.
"""

import argparse
import asyncio
import io
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import numpy as np
import numpy.typing as npt
import psutil
from PIL import Image, ImageFilter

from benchmarks.results import Section, command, result, table
from benchmarks.site import AUTHOR, DIM, Site, made_site
from contract.artifact import Artifact, load
from contract.preprocessing import decode_image, token_ids
from contract.runtime import OnnxModel
from training.settings import BackboneName

COMMAND = command("write_path")
BACKBONE: BackboneName = "efficientnet_lite0"
ROUNDS = 3
CLIENTS = (1, 8, 32)
BATCHES = (1, 2, 4, 8, 16, 32)
PICTURES = 32
_LEAST_SECONDS = 4.0
CORES = len(os.sched_getaffinity(0))
TEXT = "Calm lake under the first snow. Nobody there but us! #morning #mountains"


@dataclass(frozen=True)
class Posted:
    """What came of one round; seconds of each answered POST, and of the cores by who used them."""

    seconds: float
    latencies: list[float]
    core_seconds: dict[str, float]
    encoded_per_second: float
    """Tweets, of the time in which the encoder had a batch."""

    @property
    def rate(self) -> float:
        """Tweets a second."""
        return len(self.latencies) / self.seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each of the rounds")
    print(measure(parser.parse_args().seconds))


def measure(seconds: float) -> Section:
    """All of it: some two minutes. Rounds of less than _LEAST_SECONDS would be beginning and end for the most part."""
    seconds = max(seconds, _LEAST_SECONDS)
    pictures = [photograph(seed) for seed in range(PICTURES)]
    with made_site([], BACKBONE) as site:
        exported = exported_by(site)
        encode = bare_encoder(exported, pictures, OnnxModel(exported, "cpu"))
        bare = {batch: per_second(lambda batch=batch: encode(batch), batch, seconds / 2) for batch in BATCHES}  # type: ignore[misc]
        best = max(bare, key=lambda batch: bare[batch])
        rounds: dict[int, list[Posted]] = {clients: [] for clients in CLIENTS}
        beside = []
        for _ in range(ROUNDS):
            for clients in CLIENTS:
                rounds[clients].append(asyncio.run(post(site, pictures, clients, seconds)))
            beside.append(per_second(lambda: encode(best), best, seconds))
        encoder = core_ms(lambda: encode(best), best, seconds / 2)
        decoder = core_ms(lambda: decode_image(pictures[0], exported.manifest.preprocessing.image_size), 1, seconds / 2)
    return _section(bare, best, rounds, beside, {"encoder": encoder, "decoding and scaling": decoder})


def posts_beside_the_bare_loop(site: Site, clients: int, seconds: float) -> float:
    """Tweets a second as a share of what the encoder alone does eight at a time, the median of the rounds."""
    pictures = [photograph(seed) for seed in range(PICTURES)]
    exported = exported_by(site)
    encode = bare_encoder(exported, pictures, OnnxModel(exported, "cpu"))
    return statistics.median(
        asyncio.run(post(site, pictures, clients, seconds)).rate / per_second(lambda: encode(8), 8, seconds)
        for _ in range(ROUNDS)
    )


def exported_by(site: Site) -> Artifact:
    """The model that serves."""
    return load(next(path for path in site.stores.models_dir.iterdir() if (path / "manifest.json").exists()))


def bare_encoder(exported: Artifact, pictures: list[bytes], model: OnnxModel) -> Callable[[int], object]:
    """Encodes so many of the pictures, decoded and their words read before, at a time."""
    preprocessing = exported.manifest.preprocessing
    image_BHWC: npt.NDArray[np.uint8] = np.stack([decode_image(one, preprocessing.image_size) for one in pictures])
    ids_BSW = token_ids(exported.tokenizer, [TEXT] * len(pictures), preprocessing)
    return lambda batch: model.encode(image_BHWC[:batch], ids_BSW[:batch])


def per_second(work: Callable[[], object], each: int, seconds: float) -> float:
    """How many a second, `each` at a time, after one that does not count."""
    work()
    done, taken = repeated(work, each, seconds)
    return done / taken


def repeated(work: Callable[[], object], each: int, seconds: float) -> tuple[int, float]:
    """How many, and in how many seconds: at least so long."""
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        work()
        done += each
    return done, time.perf_counter() - started


def core_ms(work: Callable[[], object], each: int, seconds: float) -> float:
    """Milliseconds of a core that one takes, `each` at a time."""
    work()
    before = time.process_time()
    done, _ = repeated(work, each, seconds)
    return 1_000 * (time.process_time() - before) / done


async def post(site: Site, pictures: list[bytes], clients: int, seconds: float) -> Posted:
    """Each client posts as soon as it was answered. Raises RuntimeError at an answer but 201."""
    latencies: list[float] = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.port}", timeout=60) as client:

        async def one(number: int) -> None:
            while (asked := time.perf_counter()) < started + seconds:
                picture = pictures[(number + len(latencies)) % len(pictures)]
                answer = await client.post(
                    "/tweets", data={"author_id": AUTHOR, "text": TEXT}, files={"image": picture}
                )
                if answer.status_code != 201:
                    raise RuntimeError(f"{answer.status_code}: {answer.text}")
                latencies.append(time.perf_counter() - asked)

        before = await _counted(client, site)
        started = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(clients)))
        taken = time.perf_counter() - started
        grown = {name: value - before[name] for name, value in (await _counted(client, site)).items()}
    encoded = grown.pop("encoder_batch_size_sum") / grown.pop("encoder_batch_seconds_sum")
    return Posted(taken, latencies, grown, encoded)


async def _counted(client: httpx.AsyncClient, site: Site) -> dict[str, float]:
    told = (await client.get("/metrics")).text.splitlines()
    names = ("encoder_batch_size_sum", "encoder_batch_seconds_sum")
    encoder = {name: float(line.split()[1]) for name in names for line in told if line.startswith(f"{name} ")}
    service = psutil.Process(site.process.pid).cpu_times()
    return {**encoder, "service": service.user + service.system, "client": time.process_time()}


def photograph(seed: int) -> bytes:
    """A JPEG as large as a phone's picture that was scaled down: smooth shapes and some grain."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        (1_000, 750), Image.Resampling.BICUBIC
    )
    grain = generator.normal(0, 6, (750, 1_000, 1))
    pixels = np.clip(np.asarray(coarse.filter(ImageFilter.GaussianBlur(2)), dtype=np.float32) + grain, 0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=88)
    return file.getvalue()


def _section(
    bare: dict[int, float], best: int, rounds: dict[int, list[Posted]], beside: list[float], alone: dict[str, float]
) -> Section:
    most = rounds[CLIENTS[-1]]
    cost = _cost_ms(most)
    floor = 1_000 * CORES / sum(alone.values()) / bare[best]
    text = "\n\n".join(
        [
            f"{BACKBONE}, d = {DIM}, photographs of 1,000 x 750 pixels; {ROUNDS} rounds of {most[0].seconds:.0f} s, in "
            f"turns with the bare loop at its best batch size ({best}). Clients, service, SQLite and Redis share the "
            "cores.",
            table(
                ["Clients", "Tweets/s", "Of the bare loop", "p50 ms", "p99 ms"],
                [_posted_row(clients, posted, beside) for clients, posted in rounds.items()],
            ),
            "The bare loop:",
            table(["Batch", "Tweets/s"], [[str(batch), f"{rate:.1f}"] for batch, rate in bare.items()]),
            f"What a tweet costs, in ms of a core, {CLIENTS[-1]} clients:",
            table(
                ["What", "ms"],
                [[name, f"{ms:.1f}"] for name, ms in cost.items()]
                + [[f"for itself: {name}", f"{ms:.1f}"] for name, ms in alone.items()],
            ),
        ]
    )
    against = f"a loop of ONNX Runtime at batch {best}, pictures decoded before"
    rate = statistics.median(one.rate for one in most)
    encoding = statistics.median(one.encoded_per_second / rate for one, rate in zip(most, beside, strict=True))
    p99 = 1_000 * float(np.quantile(np.concatenate([one.latencies for one in rounds[8]]), 0.99))
    return Section(
        "Write path",
        text,
        [
            result("tweets/s, 32 clients", _share(most, beside), "of the bare loop", against, COMMAND, (">=", 0.9)),
            result("could it do nothing but decode and encode", floor, "of the bare loop", against, COMMAND, None),
            result(
                "encoder in the service, while it has a batch", encoding, "of the bare loop", against, COMMAND, None
            ),
            result("tweets/s, 32 clients", rate, "1/s", "", COMMAND, None),
            result("p99 of POST, 8 clients", p99, "ms", "", COMMAND, None),
            *(
                result(f"a tweet: {name}", ms, "ms of a core", "", COMMAND, None)
                for name, ms in {**cost, **alone}.items()
            ),
        ],
    )


def _posted_row(clients: int, posted: list[Posted], beside: list[float]) -> list[str]:
    latencies = np.concatenate([one.latencies for one in posted])
    rate = statistics.median(one.rate for one in posted)
    quantiles = [f"{1_000 * np.quantile(latencies, q):.0f}" for q in (0.5, 0.99)]
    return [str(clients), f"{rate:.1f}", f"{_share(posted, beside):.2f}", *quantiles]


def _share(posted: list[Posted], beside: list[float]) -> float:
    return statistics.median(one.rate / rate for one, rate in zip(posted, beside, strict=True))


def _cost_ms(posted: list[Posted]) -> dict[str, float]:
    """Of a tweet, by who used the cores."""
    tweets = sum(len(one.latencies) for one in posted)
    return {name: 1_000 * sum(one.core_seconds[name] for one in posted) / tweets for name in posted[0].core_seconds}


if __name__ == "__main__":
    main()
