"""POST /tweets at 1, 8 and 32 clients, beside a bare loop of the encoder, in one run.

    python -m benchmarks.write_path

Made photographs of 1,000 x 750 pixels, EfficientNet-Lite0 at d = 400; SQLite and the embedded Redis. Prints Markdown.
"""

import argparse
import asyncio
import io
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import numpy.typing as npt
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
TEXT = "Calm lake under the first snow. Nobody there but us! #morning #mountains"


@dataclass(frozen=True)
class Posted:
    """What came of one round; seconds of each answered POST."""

    seconds: float
    latencies: list[float]

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
    """All of it: some two minutes."""
    pictures = [photograph(seed) for seed in range(PICTURES)]
    with made_site([], BACKBONE) as site:
        exported = load(next(path for path in site.stores.models_dir.iterdir() if (path / "manifest.json").exists()))
        with bare_encoder(exported, pictures, OnnxModel(exported)) as encode:
            bare = {batch: per_second(lambda batch=batch: encode(batch), batch, seconds / 2) for batch in BATCHES}  # type: ignore[misc]
            best = max(bare, key=lambda batch: bare[batch])
            rounds: dict[int, list[Posted]] = {clients: [] for clients in CLIENTS}
            beside = []
            for _ in range(ROUNDS):
                for clients in CLIENTS:
                    rounds[clients].append(asyncio.run(post(site, pictures, clients, seconds)))
                beside.append(per_second(lambda: encode(best), best, seconds))
        size = exported.manifest.preprocessing.image_size
        decoded = per_second(lambda: decode_image(pictures[0], size), 1, seconds / 2)
    return _section(bare, best, rounds, beside, decoded)


@contextmanager
def bare_encoder(exported: Artifact, pictures: list[bytes], model: OnnxModel) -> Iterator[Callable[[int], object]]:
    """ONNX Runtime with all cores over pictures decoded and words read before, in batches of a size."""
    preprocessing = exported.manifest.preprocessing
    image_BHWC: npt.NDArray[np.uint8] = np.stack([decode_image(one, preprocessing.image_size) for one in pictures])
    ids_BSW = token_ids(exported.tokenizer, [TEXT] * len(pictures), preprocessing)
    yield lambda batch: model.encode(image_BHWC[:batch], ids_BSW[:batch])


def per_second(work: Callable[[], object], each: int, seconds: float) -> float:
    """How many a second, `each` at a time, after one that does not count."""
    work()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        work()
        done += each
    return done / (time.perf_counter() - started)


async def post(site: Site, pictures: list[bytes], clients: int, seconds: float) -> Posted:
    """Each client posts as soon as it was answered. Raises RuntimeError at an answer but 201."""
    latencies: list[float] = []
    started = time.perf_counter()
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

        await asyncio.gather(*(one(number) for number in range(clients)))
    return Posted(time.perf_counter() - started, latencies)


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
    bare: dict[int, float], best: int, rounds: dict[int, list[Posted]], beside: list[float], decoded: float
) -> Section:
    rates = {clients: [one.rate for one in posted] for clients, posted in rounds.items()}
    latencies = {clients: np.concatenate([one.latencies for one in posted]) for clients, posted in rounds.items()}
    share = statistics.median(rate / encoder for rate, encoder in zip(rates[CLIENTS[-1]], beside, strict=True))
    text = "\n\n".join(
        [
            f"{BACKBONE}, d = {DIM}; {ROUNDS} rounds, in turns with the bare loop at its best batch size ({best}). "
            "Clients, service, SQLite and Redis share the cores. Decoding one of the pictures and scaling it takes "
            f"{1_000 / decoded:.1f} ms.",
            table(
                ["Clients", "Tweets/s", "Of the bare loop", "p50 ms", "p99 ms"],
                [
                    [
                        str(clients),
                        f"{statistics.median(rates[clients]):.1f}",
                        f"{statistics.median(a / b for a, b in zip(rates[clients], beside, strict=True)):.2f}",
                        *(f"{1_000 * np.quantile(latencies[clients], q):.0f}" for q in (0.5, 0.99)),
                    ]
                    for clients in CLIENTS
                ],
            ),
            "The bare loop:",
            table(["Batch", "Tweets/s"], [[str(batch), f"{rate:.1f}"] for batch, rate in bare.items()]),
        ]
    )
    against = f"a loop of ONNX Runtime at batch {best}, pictures decoded before"
    return Section(
        "Write path",
        text,
        [
            result("tweets/s, 32 clients", share, "of the bare loop", against, COMMAND, (">=", 0.9)),
            result("tweets/s, 32 clients", statistics.median(rates[32]), "1/s", against, COMMAND, None),
            result("p99 of POST, 8 clients", 1_000 * float(np.quantile(latencies[8], 0.99)), "ms", "", COMMAND, None),
            result(
                "decoding and scaling",
                1_000 / decoded,
                "ms",
                f"encoding alone {1_000 / bare[best]:.1f} ms",
                COMMAND,
                None,
            ),
        ],
    )


if __name__ == "__main__":
    main()
