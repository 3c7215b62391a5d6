"""The service on a card: POST /tweets end to end, and what batching gains with eight clients.

Triton's documentation has a gain of 3.7 for dynamic batching at 8 concurrent requests (Inception, one model instance):
its clients send decoded pictures, as ours do to the micro-batcher in process; over HTTP ours send JPEGs.
"""

import asyncio
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import httpx
import numpy as np
import numpy.typing as npt

from benchmarks.gpu_card import PROVIDERS, Card, Row, Skipped, first_line, why_not
from benchmarks.gpu_models import Precision, TorchEncoder, encoder_graph, in_precision, made_inputs
from benchmarks.write_path import TEXT, bare_encoder, exported_by, per_second, photograph, post
from contract.preprocessing import Preprocessing
from contract.runtime import OnnxModel
from service.active import ActiveModel
from service.batcher import open_batcher
from service.metrics import Metrics
from training.settings import BackboneName
from training.tokenizer import train_tokenizer

MAX_BATCH = 16
CLIENTS = 8
TRITON = "Triton's dynamic batching: 3.7"
_CAPACITY = 64


@dataclass(frozen=True)
class Sizes:
    """`encoders` are torch's, by backbone and precision; `backbone` is the service's."""

    encoders: list[tuple[BackboneName, Precision]]
    backbone: BackboneName
    clients: list[int]
    pictures: int


FULL = Sizes([("efficientnet_lite0", "fp32"), ("vgg16", "fp16")], "efficientnet_lite0", [1, CLIENTS, 32], 32)
QUICK = Sizes([("tiny", "fp32")], "tiny", [1, CLIENTS], MAX_BATCH)


def measure_batching(card: Card, sizes: Sizes) -> Iterator[Row]:
    """The service's micro-batcher in process over torch, for where ONNX Runtime has no CUDA."""
    for backbone, precision in sizes.encoders:
        what = f"{backbone} {precision}, torch eager"
        try:
            graph = in_precision(encoder_graph(backbone), precision)
            model = torch_model(TorchEncoder(graph, card.device), graph.backbone.image_size)
        except Exception as error:  # weights that are not installed: the other one goes on
            yield Skipped(what, first_line(error))
        else:
            yield from gain(card, what, model, made_inputs(CLIENTS, graph.backbone.image_size)[0])


def torch_model(encoder: TorchEncoder, image_size: int) -> ActiveModel:
    """What the batcher asks of the model that serves, without a folder."""
    manifest = SimpleNamespace(preprocessing=Preprocessing(image_size=image_size))
    artifact = SimpleNamespace(tokenizer=train_tokenizer([TEXT, TEXT]))
    return cast(ActiveModel, SimpleNamespace(onnx=encoder, version="made", artifact=artifact, manifest=manifest))


def gain(card: Card, what: str, model: ActiveModel, image_BHWC: npt.NDArray[np.uint8]) -> Iterator[Row]:
    """Batches of up to MAX_BATCH against one at a time, in turns."""
    rates: dict[int, list[float]] = {MAX_BATCH: [], 1: []}
    for max_batch in rates:
        asyncio.run(batched(model, image_BHWC, max_batch, card.effort.seconds))
    for _ in range(card.effort.rounds):
        for max_batch, found in rates.items():
            found.append(asyncio.run(batched(model, image_BHWC, max_batch, card.effort.seconds)))
    times = statistics.median(a / b for a, b in zip(rates[MAX_BATCH], rates[1], strict=True))
    one = statistics.median(rates[1])
    yield card.row(
        f"batching's gain, {CLIENTS} clients in process, {what}",
        times,
        "times",
        f"{one:,.0f} tweets/s one at a time; {TRITON}",
    )


async def batched(model: ActiveModel, image_BHWC: npt.NDArray[np.uint8], max_batch: int, seconds: float) -> float:
    """Tweets a second of clients who each send the next picture as soon as they have their vector."""
    loop = asyncio.get_running_loop()
    async with open_batcher(_CAPACITY, max_batch, Metrics()) as batcher:
        await asyncio.gather(*(batcher.encode(model, image_HWC, TEXT) for image_HWC in image_BHWC))
        started = loop.time()

        async def client(image_HWC: npt.NDArray[np.uint8]) -> int:
            done = 0
            while loop.time() < started + seconds:
                await batcher.encode(model, image_HWC, TEXT)
                done += 1
            return done

        done = await asyncio.gather(*(client(image_HWC) for image_HWC in image_BHWC))
        return sum(done) / (loop.time() - started)


def measure_posting(card: Card, sizes: Sizes) -> Iterator[Row]:
    """A service process whose encoder is on the card, beside one that encodes one at a time, and the encoder alone."""
    from benchmarks.site import made_site, serving

    if reason := why_not(PROVIDERS[card.kind]):
        yield Skipped("POST /tweets", f"{PROVIDERS[card.kind]}: {reason}")
        return
    pictures, seconds = [photograph(seed) for seed in range(sizes.pictures)], 8 * card.effort.seconds
    told = {"DEVICE": card.kind, "MAX_BATCH": str(MAX_BATCH)}
    with made_site([], sizes.backbone, **told) as site, serving(site.stores, told | {"MAX_BATCH": "1"}) as single:
        exported = exported_by(site)
        model = OnnxModel(exported, card.kind)
        model.warm_up(exported.manifest.preprocessing, sizes.pictures)
        image_BHWC = made_inputs(CLIENTS, exported.manifest.preprocessing.image_size)[0]
        yield from gain(card, f"{sizes.backbone} fp32, ONNX Runtime", ActiveModel(exported, model), image_BHWC)
        rates: dict[int, list[float]] = {clients: [] for clients in sizes.clients}
        alone, one_by_one, p99_ms = list[float](), list[float](), dict[int, list[float]]()
        encode = bare_encoder(exported, pictures, model)
        for _ in range(card.effort.rounds):
            for clients, found in rates.items():
                posted = asyncio.run(post(site, pictures, clients, seconds))
                found.append(posted.rate)
                p99_ms.setdefault(clients, []).append(1_000 * float(np.quantile(posted.latencies, 0.99)))
            one_by_one.append(asyncio.run(post(single, pictures, CLIENTS, seconds)).rate)
            alone.append(per_second(lambda: encode(MAX_BATCH), MAX_BATCH, seconds / 2))
        ended = [httpx.get(f"http://127.0.0.1:{one.port}/health/ready").json()["device"] for one in (site, single)]
    if {*ended, model.device} != {card.kind}:
        raise RuntimeError(f"the encoders ended on {ended} and {model.device}: these figures are not the card's")
    for clients, found in rates.items():
        share = statistics.median(a / b for a, b in zip(found, alone, strict=True))
        p99 = statistics.median(p99_ms[clients])
        yield card.row(
            f"POST /tweets, {sizes.backbone}, {clients} clients",
            statistics.median(found),
            "tweets/s",
            f"{share:.2g} of the encoder alone at batch {MAX_BATCH}; p99 {p99:.0f} ms",
        )
    times = statistics.median(a / b for a, b in zip(rates[CLIENTS], one_by_one, strict=True))
    yield card.row(
        f"batching's gain, {CLIENTS} clients of POST /tweets", times, "times", f"a service with MAX_BATCH=1; {TRITON}"
    )
