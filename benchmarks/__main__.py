"""Run the benchmarks of the page, and write it: docs/performance.md and what belongs to it.

make bench
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import onnxruntime

from benchmarks import discover, growth, peer_serving, read_path, redis_memory, training_path, write_path
from benchmarks.peer_processes import Peers, PeersMissing
from benchmarks.results import Section, machine, result, results_table

BENCHMARKS: dict[str, Callable[[float], Section]] = {
    "read_path": read_path.measure,
    "write_path": write_path.measure,
    "growth": growth.measure,
    "discover": discover.measure,
    "redis_memory": lambda _: redis_memory.measure(),
    "training_path": training_path.measure,
}
"""In the page's order. What a card does: benchmarks/gpu.py, for itself."""


def main() -> None:
    """Run, print as it goes, write the page after each: one that fails takes nothing with it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs"), help="gets performance.md and performance/")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round of each measurement")
    parser.add_argument("--peers-python", type=Path, help="to have benchmarks.peer_serving, too (four minutes)")
    options = parser.parse_args()
    of_peers = peers(options.peers_python)
    started, minutes, sections = time.monotonic(), 0.0, list[Section]()
    for name, measure in {**BENCHMARKS, **of_peers}.items():
        sections.append(run(name, measure, options.seconds))
        if name in BENCHMARKS:
            minutes = (time.monotonic() - started) / 60
        write(options.out, sections, minutes)


def run(name: str, measure: Callable[[float], Section], seconds: float) -> Section:
    """One, printed."""
    print(f"{name} ...", flush=True)
    section = measure(seconds)
    print(section, flush=True)
    return section


def peers(python: Path | None) -> dict[str, Callable[[float], Section]]:
    """The benchmark that needs an environment of its own, where that is named. Exits where it lacks something."""
    if python is None:
        return {}
    try:
        Peers(python)
    except PeersMissing as error:
        raise SystemExit(f"error: {error}") from None
    return {"peer_serving": lambda seconds: peer_serving.measure(seconds, python)}


def write(out: Path, sections: list[Section], minutes: float) -> None:
    """The page, the rows and the plots."""
    folder = out / "performance"
    folder.mkdir(parents=True, exist_ok=True)
    alone = "but for the peers' serving"
    results = [one for section in sections for one in section.results]
    results.append(result("make bench", minutes, "minutes", alone, "make bench", ("<=", 15.0)))
    (folder / "results.json").write_text(json.dumps([asdict(one) for one in results], indent=1) + "\n", "utf-8")
    for section in sections:
        for name, figure in section.figures.items():
            figure.savefig(folder / name, metadata={"Date": None})
    names = ("fastapi", "uvicorn", "numpy", "numkong")
    libraries = ", ".join([*(f"{name} {version(name)}" for name in names), f"onnxruntime {onnxruntime.__version__}"])
    page = [
        "# Performance",
        f"Written by `make bench` ({minutes:.0f} min, {alone}) on {machine()}, Python {platform.python_version()}, "
        f"{libraries}. The load, the service and the store share the cores. Figures are ratios within one run: "
        "absolute ones hold for this machine at that hour. What was tried, and what did not help, is in "
        "[experiments.md](experiments.md).",
        "## Goals",
        results_table([one for one in results if one.goal is not None]),
        "Why some are not met: [performance/limits.md](performance/limits.md).",
        *map(str, sections),
    ]
    (out / "performance.md").write_text("\n\n".join(page) + "\n", "utf-8")
    print(f"wrote {out / 'performance.md'}, {folder / 'results.json'} and the plots beside it")


if __name__ == "__main__":
    main()
