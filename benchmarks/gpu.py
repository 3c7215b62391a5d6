"""What an NVIDIA card does for encoding, posting, fine-tuning and ranking, as shares of what it can do at most.

    python -m benchmarks.gpu --out var/gpu

Needs the packages of service, trainer and tests (`pip install .[service,training,dev]`), among them torch with CUDA and
onnxruntime-gpu. What is missing (TensorRT, CUDA in either, EfficientNet's weights) has a line that says so and the
rest is measured all the same; without a card there is one line. A run of everything ends within nine minutes: each
part is a process of its own, ended when its time is up, and what it measured until then counts. With --out, gpu.md and
gpu.json are written after each part.

    python -m benchmarks.gpu --device cpu --quick

runs the same code at the least sizes, to test it where there is no card.
"""

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results import Result, Section, results_table, table
from contract import die_with_parent

if TYPE_CHECKING:
    from benchmarks.gpu_card import Card, Row

SECONDS_IN_ALL = 530.0
_TO_CLEAN_UP = 10.0


@dataclass(frozen=True)
class Part:
    """A module that measures something: imported in its own process alone, so that what it lacks is its own matter."""

    title: str
    module: str
    function: str
    seconds: float
    """At most."""
    about: str


PARTS = {
    "card": Part("The card", "gpu_card", "measure_card", 30, "What shares are of; each part measures it again."),
    "encoder": Part(
        "Tweet encoder",
        "gpu_encoder",
        "measure_encoder",
        240,
        "d = 400, random weights for VGG16, inputs on the card. Products of fp32 are in TF32, ONNX Runtime's default; "
        "fp16 is the backbone's alone. Shares are always of the fp16 peak. How far z is off float32 on the CPU is a "
        "share of its largest value.",
    ),
    "finetune": Part(
        "Fine-tuning all of VGG16",
        "gpu_finetune",
        "measure_finetune",
        60,
        "Random weights; pictures on the card, decoded.",
    ),
    "ranking": Part(
        "Ranking many users at once",
        "gpu_ranking",
        "measure_ranking",
        50,
        "Attention over 30 followees, two products a tweet, the ten best of all, compared with a float32 ranking. The "
        "floor is the larger of reading every vector once and doing every product at the peak.",
    ),
    "batching": Part("Micro-batching in process", "gpu_serving", "measure_batching", 40, "Decoded pictures, no HTTP."),
    "posting": Part(
        "POST /tweets",
        "gpu_serving",
        "measure_posting",
        110,
        "Photographs of 1,000 x 750 pixels; clients on the same cores.",
    ),
}


def main() -> None:
    """Measure and print; without a card say why not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], help="by default cuda where there is a card")
    parser.add_argument("--quick", action="store_true", help="least sizes: to test the benchmark itself")
    parser.add_argument("--seconds", type=float, default=0.15, help="of each turn of each measurement")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="all by default")
    parser.add_argument("--out", type=Path, help="gets gpu.md and gpu.json")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended
    if options.rows is not None:
        measure_here(options.parts[0], open_card(options.device, options.quick, options.seconds), options.rows)
        return
    if options.device != "cpu" and (reason := why_no_card()):
        print(f"no GPU to measure: {reason}")
        sys.exit(0 if options.device is None else 1)
    device = options.device or "cuda"
    for _ in measured(options.parts, device, options.quick, options.seconds, options.out):
        pass


def why_no_card() -> str | None:
    """Why there is nothing to measure with; None where there is."""
    try:
        from benchmarks.gpu_card import why_no_card
    except ImportError as error:
        return str(error)
    return why_no_card()


def measured(parts: list[str], device: str, quick: bool, seconds: float, out: Path | None = None) -> Iterator[Section]:
    """Part by part, printed and written as they come."""
    until, sections, kept = time.monotonic() + SECONDS_IN_ALL, list[Section](), list[dict[str, Any]]()
    for name in parts:
        part = PARTS[name]
        told = ["--parts", name, "--device", device, "--seconds", str(seconds), *(["--quick"] if quick else [])]
        rows = rows_within(told, part.title, min(part.seconds, until - time.monotonic()))
        kept += [{"part": name, **row} for row in rows]
        sections.append(section(part, rows))
        print(f"{sections[-1]}\n", flush=True)
        if out is not None:
            write(out, sections, kept)
        yield sections[-1]


def rows_within(told: Sequence[str], title: str, seconds: float) -> list[dict[str, Any]]:
    """What a part measured in its time, in a process of its own: a Result or a Skipped each."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.touch()
        ended = "no time was left" if seconds <= _TO_CLEAN_UP else run_within(told, path, seconds)
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
    return rows if ended is None else [*rows, {"what": title, "why": ended}]


def run_within(told: Sequence[str], rows: Path, seconds: float) -> str | None:
    """Run a part; in words how it ended where that was not by itself."""
    bound = [sys.executable, die_with_parent.__file__, str(os.getpid())]
    command = [*bound, sys.executable, "-m", "benchmarks.gpu", *told, "--rows", str(rows)]
    process = subprocess.Popen(command, start_new_session=True, stdout=sys.stderr)
    try:
        code = process.wait(seconds - _TO_CLEAN_UP)
    except subprocess.TimeoutExpired:
        return f"ended after {seconds - _TO_CLEAN_UP:.0f} s: what is there was measured before"
    finally:
        end_group(process)
    return None if code == 0 else f"its process ended with code {code}"


def end_group(process: subprocess.Popen[bytes]) -> None:
    """The process and those that it started: first so that it can end them itself."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        if process.poll() is None:
            process.terminate()
            process.wait(_TO_CLEAN_UP)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def open_card(device: str, quick: bool, seconds: float) -> "Card":
    """As told."""
    import torch

    from benchmarks.gpu_card import Card, Effort

    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    return Card("cpu" if device == "cpu" else "cuda", Effort(quick, seconds, 2 if quick else 3))


def measure_here(name: str, card: "Card", path: Path) -> None:
    """A part, in this process; each row is written as it comes, the last one says what went wrong."""
    from benchmarks.gpu_card import Skipped, first_line

    with path.open("a", encoding="utf-8") as file:

        def put(row: "Row") -> None:
            file.write(json.dumps(asdict(row)) + "\n")
            file.flush()

        try:
            for row in rows_of(PARTS[name], card):
                put(row)
        except Exception as error:  # whatever it is, the other parts are measured
            put(Skipped(PARTS[name].title, first_line(error)))


def rows_of(part: Part, card: "Card") -> "Iterator[Row]":
    """A part's rows at the card's sizes."""
    module = importlib.import_module(f"benchmarks.{part.module}")
    function: Callable[..., Iterator[Row]] = getattr(module, part.function)
    sizes = getattr(module, "QUICK" if card.effort.quick else "FULL", None)
    return function(card) if sizes is None else function(card, sizes)


def section(part: Part, rows: list[dict[str, Any]]) -> Section:
    """Of the page: figures, and what has none."""
    skipped = [[row["what"], row["why"]] for row in rows if "why" in row]
    text = [part.about, *([table(["Not measured", "Why"], skipped)] if skipped else [])]
    return Section(part.title, "\n\n".join(text), [Result(**row) for row in rows if "why" not in row])


def write(out: Path, sections: list[Section], kept: list[dict[str, Any]]) -> None:
    """What there is by now."""
    out.mkdir(parents=True, exist_ok=True)
    goals = results_table([row for one in sections for row in one.results if row.goal is not None])
    page = ["# On a GPU", goals, *map(str, sections)]
    (out / "gpu.md").write_text("\n\n".join(page) + "\n", "utf-8")
    (out / "gpu.json").write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
