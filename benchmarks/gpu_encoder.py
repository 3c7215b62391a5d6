"""How many tweets a second the encoder takes on a card, by backbone, precision, batch and runtime.

Inputs lie on the card. All runtimes of a batch size take turns with the product that is the card's peak.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor

from benchmarks.gpu_card import (
    CUDA,
    PROVIDERS,
    TENSORRT,
    Card,
    Row,
    Skipped,
    Work,
    first_line,
    open_session,
    peak_product,
    why_not,
)
from benchmarks.gpu_models import (
    Precision,
    channels_last,
    encoder_graph,
    export_alone,
    flops_each,
    fuse,
    in_precision,
    made_inputs,
)
from contract.artifact import ENCODER_INPUTS, ENCODER_OUTPUTS
from contract.runtime import relative_difference
from training.export import EncoderGraph
from training.settings import BackboneName

GOAL = 0.6
WRONG = 0.05
"""Of the largest value: what is further from float32 than that is not the same encoder."""
Inputs = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Sizes:
    """What is measured, in this order."""

    encoders: list[tuple[BackboneName, Precision]]
    batches: list[int]
    compiler: str


FULL = Sizes(
    [("vgg16", "fp16"), ("efficientnet_lite0", "fp16"), ("vgg16", "fp32"), ("efficientnet_lite0", "fp32")],
    [512, 128, 8, 1],
    "inductor",
)
QUICK = Sizes([("tiny", "fp16"), ("tiny", "fp32")], [4, 1], "eager")


@dataclass
class Subject:
    """An encoder in one precision, as the runtimes want it."""

    name: BackboneName
    precision: Precision
    graph: EncoderGraph
    card: Card
    sizes: Sizes
    folder: Path

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"

    def on_card(self) -> EncoderGraph:
        """A copy."""
        return channels_last(in_precision(self.graph, self.precision).to(self.card.device))

    @cached_property
    def onnx_file(self) -> str:
        """By the project's exporter."""
        return str(export_alone(self.name, self.precision, self.folder / f"{self.name}-{self.precision}.onnx"))


Encode = Callable[[Inputs], tuple[Work, Callable[[], npt.NDArray[np.float32]]]]
"""From inputs, what encodes them, and what z it gave."""


def eager(subject: Subject) -> Encode:
    """Torch as it is."""
    return _by_torch(subject.on_card(), subject.card)


def fused(subject: Subject) -> Encode:
    """Torch with convolution, bias and ReLU in one. Raises ValueError where no ReLU follows a convolution."""
    graph = subject.on_card()
    if not fuse(graph.backbone):
        raise ValueError("no ReLU follows a convolution")
    return _by_torch(graph, subject.card)


def compiled(subject: Subject, mode: str | None = None) -> Encode:
    """torch.compile of the backbone, anew for each batch size; it raises where it would fall back to eager."""
    torch.compiler.reset()
    graph = subject.on_card()
    graph.backbone.compile(fullgraph=True, dynamic=False, backend=subject.sizes.compiler, mode=mode)
    return _by_torch(graph, subject.card)


def autotuned(subject: Subject) -> Encode:
    """torch.compile that tries many kernels; minutes."""
    return compiled(subject, "max-autotune-no-cudagraphs" if subject.sizes.compiler == "inductor" else None)


def by_provider(subject: Subject) -> Encode:
    """ONNX Runtime as the service runs it."""
    return _by_onnxruntime(subject, PROVIDERS[subject.card.kind], {})


def by_channels_last(subject: Subject) -> Encode:
    """ONNX Runtime's CUDA provider with channels last."""
    return _by_onnxruntime(subject, CUDA, {"prefer_nhwc": "1"})


def by_tensorrt(subject: Subject) -> Encode:
    """ONNX Runtime's TensorRT provider."""
    half = {"trt_fp16_enable": "True"} if subject.precision == "fp16" else {}
    return _by_onnxruntime(subject, TENSORRT, half)


RUNTIMES: dict[str, Callable[[Subject], Encode]] = {
    "torch eager": eager,
    "torch, fused by cuDNN": fused,
    "torch.compile": compiled,
    "ONNX Runtime": by_provider,
    "ONNX Runtime, channels last": by_channels_last,
}
SLOW_TO_START: list[dict[str, Callable[[Subject], Encode]]] = [
    {"TensorRT": by_tensorrt},
    {"torch.compile, max-autotune": autotuned},
]
"""At the largest batch alone, after all others: where the time is up, they are what is missing."""


@dataclass(frozen=True)
class Speed:
    """Of a runtime at a batch size."""

    share: float
    batch: int
    runtime: str
    peak: str


def measure_encoder(card: Card, sizes: Sizes) -> Iterator[Row]:
    """Row by row; the best batch of a runtime has a row that says its share of the peak, and so has VGG16's best."""
    best = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for runtimes in (RUNTIMES, *SLOW_TO_START):
            batches = sizes.batches if runtimes is RUNTIMES else sizes.batches[:1]
            for name, precision in sizes.encoders:
                subject = Subject(name, precision, encoder_graph(name), card, sizes, Path(folder))
                speeds = list[Speed]()
                yield from measure_subject(subject, runtimes, batches, speeds)
                yield from best_batches(subject, speeds)
                if (name, precision) == ("vgg16", "fp16") and max((speed.share for speed in speeds), default=0) > best:
                    fastest = max(speeds, key=lambda speed: speed.share)
                    best, how = fastest.share, f"{fastest.runtime}, batch {fastest.batch}; {fastest.peak}"
                    yield card.row(f"{subject} at its best", best, "of the peak", how, (">=", GOAL))


def measure_subject(
    subject: Subject, runtimes: dict[str, Callable[[Subject], Encode]], batches: list[int], speeds: list[Speed]
) -> Iterator[Row]:
    """One encoder by all runtimes, which take turns with the peak; `speeds` gets the shares where that is known."""
    opened, card = dict[str, Encode](), subject.card
    for runtime, open_by in runtimes.items():
        try:
            opened[runtime] = open_by(subject)
        except Exception as error:  # whatever does not load, the others do
            yield Skipped(f"{subject}, {runtime}", first_line(error))
    peak, flops, reference_2D = None, flops_each(subject.graph), expected(subject.graph)
    try:
        peak = peak_product(card)
    except RuntimeError as error:
        yield Skipped(f"{subject}, shares of the peak", first_line(error))
    for batch in batches:
        inputs = made_inputs(batch, subject.graph.backbone.image_size)
        works, off = dict[str, Work](), dict[str, float]()
        for runtime, encode in opened.items():
            try:
                works[runtime], off[runtime] = prepared(encode, inputs, reference_2D)
            except Exception as error:  # what fails at this size, or runs out of memory
                yield Skipped(f"{subject}, batch {batch}, {runtime}", first_line(error))
        took = card.in_turns(works if peak is None else {"peak": peak.work, **works})
        for runtime in works:
            against = f"z off by {off[runtime]:.1g}"
            if peak is not None:
                share = peak.share(batch * flops, took[runtime], took["peak"])
                speeds.append(Speed(share, batch, runtime, peak.rate(took["peak"])))
                against = f"{speeds[-1].share:.3f} of {speeds[-1].peak}; {against}"
            rate = batch / statistics.median(took[runtime])
            yield card.row(f"{subject}, batch {batch}, {runtime}", rate, "tweets/s", against)


def prepared(encode: Encode, inputs: Inputs, reference_2D: npt.NDArray[np.float32]) -> tuple[Work, float]:
    """What encodes these inputs, and how far z is off. Raises ValueError where that is another encoder's z."""
    work, answer = encode(inputs)
    work()
    found_2D = answer()[:2]
    off = relative_difference(found_2D, reference_2D[: len(found_2D)])
    if not off <= WRONG:
        raise ValueError(f"its z is off by {off:.2g} of the largest value")
    return work, off


def best_batches(subject: Subject, speeds: list[Speed]) -> Iterator[Row]:
    """Each runtime's."""
    for runtime in dict.fromkeys(speed.runtime for speed in speeds):
        best = max((speed for speed in speeds if speed.runtime == runtime), key=lambda speed: speed.share)
        what = f"{subject}, {runtime}, at its best batch ({best.batch})"
        yield subject.card.row(what, best.share, "of the peak", best.peak)


def expected(graph: EncoderGraph) -> npt.NDArray[np.float32]:
    """z of two tweets in float32 by torch on the CPU."""
    with torch.inference_mode():
        inputs = (torch.from_numpy(values) for values in made_inputs(2, graph.backbone.image_size))
        z_2D: npt.NDArray[np.float32] = graph(*inputs).numpy()
    return z_2D


def _by_torch(graph: EncoderGraph, card: Card) -> Encode:
    def encode(inputs: Inputs) -> tuple[Work, Callable[[], npt.NDArray[np.float32]]]:
        image_BHWC, token_ids_BSW = (torch.from_numpy(values).to(card.device) for values in inputs)

        @torch.inference_mode()
        def work() -> Tensor:
            z_BD: Tensor = graph(image_BHWC, token_ids_BSW)
            return z_BD

        return work, lambda: work().cpu().numpy()

    return encode


def _by_onnxruntime(subject: Subject, provider: str, options: dict[str, str]) -> Encode:
    if reason := why_not(provider):
        raise RuntimeError(f"{provider}: {reason}")
    session, kind = open_session(subject.onnx_file, provider, options), subject.card.kind

    def encode(inputs: Inputs) -> tuple[Work, Callable[[], npt.NDArray[np.float32]]]:
        binding = session.io_binding()
        for name, values in zip(ENCODER_INPUTS, inputs, strict=True):
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(values, kind, 0))
        (output,) = ENCODER_OUTPUTS
        binding.bind_output(output, kind)

        def work() -> None:
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return work, lambda: np.asarray(binding.copy_outputs_to_cpu()[0])

    return encode
