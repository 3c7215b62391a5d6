"""The card: what of it loads, the most that it does a second, and how long work on it takes.

Shape suffixes: N a large number.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Literal

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper

from benchmarks.results import Result, machine, result
from contract.runtime import choose_device

COMMAND = "python -m benchmarks.gpu"
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDERS = {"cuda": CUDA, "cpu": "CPUExecutionProvider"}
Work = Callable[[], object]
Kind = Literal["cuda", "cpu"]


@dataclass(frozen=True)
class Skipped:
    """What was not measured, and why."""

    what: str
    why: str


Row = Result | Skipped


@dataclass(frozen=True)
class Effort:
    """How large and how long: `quick` is the same code at the least sizes, to test it on a CPU."""

    quick: bool
    seconds: float
    """Of each turn of each measurement."""
    rounds: int


@dataclass(frozen=True)
class Card:
    """Where parts run; `kind` cpu is for tests of the benchmark itself."""

    kind: Kind
    effort: Effort

    @property
    def device(self) -> torch.device:
        """As torch calls it. Raises RuntimeError where torch has no CUDA: nothing runs on the CPU instead."""
        if self.kind == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(f"torch {torch.__version__} finds no CUDA here")
        return torch.device(self.kind)

    @cached_property
    def name(self) -> str:
        """The card's."""
        return torch.cuda.get_device_name() if self.kind == "cuda" and torch.cuda.is_available() else self.kind

    def synchronize(self) -> None:
        """Wait until the device has done all that it was told."""
        if self.kind == "cuda" and torch.cuda.is_available():
            torch.cuda.synchronize()

    def row(
        self, name: str, value: float, unit: str, against: str = "", goal: tuple[str, float] | None = None
    ) -> Result:
        """A result of this card."""
        measured = result(name, value, unit, against, COMMAND, goal)
        return replace(measured, machine=f"{self.name}; {machine()}")

    def in_turns(self, works: Mapping[str, Work]) -> dict[str, list[float]]:
        """Seconds a call of each, by round; every one is called before the clock starts."""
        for work in works.values():
            work()
        rounds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(self.effort.rounds):
            for name, work in works.items():
                rounds[name].append(self._seconds_each(work))
        return rounds

    def _seconds_each(self, work: Work) -> float:
        calls, took = 1, self._seconds_of(work, 1)
        while took < self.effort.seconds / 2:
            calls = max(calls + 1, min(20 * calls, int(calls * self.effort.seconds / max(took, 1e-6))))
            took = self._seconds_of(work, calls)
        return took / calls

    def _seconds_of(self, work: Work, calls: int) -> float:
        self.synchronize()
        started = time.perf_counter()
        for _ in range(calls):
            work()
        self.synchronize()
        return time.perf_counter() - started


@dataclass(frozen=True)
class Product:
    """A product of two large matrices: what it is measured by is the peak. On a card in fp16, on a CPU in fp32."""

    work: Work
    flops: float
    dtype: str

    def share(self, flops: float, took: Sequence[float], own: Sequence[float]) -> float:
        """Of the peak, from seconds that work of so many operations took and seconds a product in the same turns."""
        return statistics.median(flops / a / (self.flops / b) for a, b in zip(took, own, strict=True))

    def rate(self, took: Sequence[float]) -> str:
        """In words, from seconds a product."""
        return f"{self.flops / statistics.median(took) / 1e12:,.3g} TFLOP/s of a {self.dtype} product"


def peak_product(card: Card) -> Product:
    """Random values: a card does zeros faster."""
    size = 256 if card.effort.quick else 8_192
    dtype = torch.float16 if card.kind == "cuda" else torch.float32
    left_NN, right_NN = (torch.randn(size, size, device=card.device).to(dtype) for _ in range(2))
    out_NN = torch.empty_like(left_NN)

    def multiply() -> None:
        with torch.inference_mode():
            torch.mm(left_NN, right_NN, out=out_NN)

    return Product(multiply, 2.0 * size**3, str(dtype).removeprefix("torch."))


@dataclass(frozen=True)
class Copy:
    """A copy of a large block: what it is measured by is the bandwidth, of bytes read and written."""

    work: Work
    bytes_moved: float


def large_copy(card: Card) -> Copy:
    """Far larger than the card's cache."""
    size = 1 << (22 if card.effort.quick else 31)
    source_N = torch.randint(0, 255, (size,), dtype=torch.uint8, device=card.device)
    target_N = torch.empty_like(source_N)
    return Copy(lambda: target_N.copy_(source_N), 2.0 * size)


def measure_card(card: Card) -> Iterator[Row]:
    """What the shares of all parts are of, by itself; each part measures it again in turns with its own."""
    product, copy = peak_product(card), large_copy(card)
    took = {
        name: statistics.median(each) for name, each in card.in_turns({"mm": product.work, "copy": copy.work}).items()
    }
    yield card.row(f"peak of a dense product, {product.dtype}", product.flops / took["mm"] / 1e12, "TFLOP/s")
    yield card.row("memory bandwidth, a copy", copy.bytes_moved / took["copy"] / 1e9, "GB/s", "bytes read and written")


def why_no_card() -> str | None:
    """Why nothing can be measured here; None where torch or ONNX Runtime can use an NVIDIA card."""
    if torch.cuda.is_available():
        return None
    device, reason = choose_device("auto")
    return None if device == "cuda" else f"{reason}, and torch {torch.__version__} has no CUDA device"


@cache
def why_not(provider: str) -> str | None:
    """Why ONNX Runtime does not run by this provider; None where it does.

    It falls back to the CPU without an exception where CUDA's libraries do not load, so a session is made and asked.
    """
    if provider not in onnxruntime.get_available_providers():
        return f"onnxruntime {onnxruntime.__version__} is built without it"
    sizes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "product", sizes[:1], sizes[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    try:
        session = open_session(model.SerializeToString(), provider, {})
        session.run(["y"], {"x": np.ones((2, 2), dtype=np.float32)})
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        return first_line(error)
    return None


def open_session(model: bytes | str, provider: str, options: Mapping[str, str]) -> onnxruntime.InferenceSession:
    """On this provider. Raises RuntimeError where ONNX Runtime took another one instead."""
    if provider in (CUDA, TENSORRT):
        onnxruntime.preload_dlls()
    told = onnxruntime.SessionOptions()
    told.log_severity_level = 3
    also = [CUDA] if provider == TENSORRT else []  # for what TensorRT does not know
    session = onnxruntime.InferenceSession(model, told, providers=[(provider, dict(options)), *also])
    if session.get_providers()[0] != provider:
        raise RuntimeError(
            f"onnxruntime {onnxruntime.__version__} could not load it and took {session.get_providers()[0]}"
        )
    return session


def first_line(error: BaseException) -> str:
    """Of what an exception says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"
