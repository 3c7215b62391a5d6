"""Measure what docs/scale.md rests on.

make scale
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.results import Section
from benchmarks.scale import (
    encoding,
    kills,
    loads,
    redis_cluster,
    replicas,
    service_times,
    simulated,
    storage,
    training,
)

BENCHMARKS: dict[str, Callable[[], Section]] = {
    "training": training.measure,
    "encoding": encoding.measure,
    "redis_cluster": redis_cluster.measure,
    "replicas": replicas.measure,
    "service_times": service_times.measure,
    "storage": storage.measure,
    "loads": loads.measure,
    "simulation": simulated.measure,
    "kills": kills.measure,
}
"""In the page's order."""


def main() -> None:
    """Run those that are named, or all; rows of the others stay as they are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/scale"), help="gets results.json and the plots")
    parser.add_argument("--only", nargs="*", choices=BENCHMARKS, help="these alone")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only or BENCHMARKS:
        print(f"{name} ...", flush=True)
        section = BENCHMARKS[name]()
        print(section, flush=True)
        write(options.out, name, section)


def write(out: Path, name: str, section: Section) -> None:
    """A section's rows in the place of its last ones, and its plots."""
    path = out / "results.json"
    rows = json.loads(path.read_text("utf-8")) if path.exists() else {}
    rows[name] = {"title": section.title, "text": section.text, "results": [asdict(one) for one in section.results]}
    in_order = {one: rows[one] for one in BENCHMARKS if one in rows}
    path.write_text(json.dumps(in_order, indent=1) + "\n", "utf-8")
    for file, figure in section.figures.items():
        figure.savefig(out / file, metadata={"Date": None})


if __name__ == "__main__":
    main()
