"""The training path: a retrain at the paper's size by its stages, tuples/s and features/s beside plain versions.

    python -m benchmarks.training_path

The network is drawn within seconds (benchmarks/paper_network.py), the retrain has its default settings and cached
features, a process of its own and all cores, whatever OMP_NUM_THREADS is here. Prints Markdown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.paper_network import store_paper_network
from benchmarks.results import Section, result, table
from benchmarks.trainer import PLAIN_BATCH, ROUNDS
from contract.environment import StoreSettings

COMMAND = "python -m benchmarks.training_path"
_NOT_THEIRS = {"OMP_NUM_THREADS", "DATABASE_URL", "REDIS_URL", "BLOB_URL"}
_PAPERS_EPOCH = 144_000
_PAPERS_SECONDS = 50 * 60 / 9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each of the rounds of tuples/s and features/s")
    print(measure(parser.parse_args().seconds))


def measure(seconds: float) -> Section:
    """All of it: some three and a half minutes."""
    with tempfile.TemporaryDirectory(prefix="itr") as folder:
        var = Path(folder)
        stores = StoreSettings(var_dir=var / "var", models_dir=var / "models", database_url=None)
        store_paper_network(stores)
        found = in_own_process(stores, seconds)
    return _section(found)


def in_own_process(stores: StoreSettings, seconds: float) -> dict[str, Any]:
    """What benchmarks/trainer.py found on these stores."""
    theirs = {"VAR_DIR": str(stores.var_dir), "MODELS_DIR": str(stores.models_dir)}
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_THEIRS} | theirs
    environment["OMP_WAIT_POLICY"] = "passive"  # as the trainer's command line has it
    child = [sys.executable, "-m", "benchmarks.trainer", str(time.time()), str(seconds)]
    printed = subprocess.run(child, env=environment, stdout=subprocess.PIPE, check=True).stdout
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def _section(found: dict[str, Any]) -> Section:
    minutes = sum(found["stages"].values()) / 60
    tuples, features = found["tuples"], found["features"]
    fast = statistics.median(ours for ours, _ in tuples)
    text = "\n\n".join(
        [
            "9,900 users, 7,193 image tweets, 29,501 follows and some 90,000 retweets in SQLite and the embedded "
            "Redis; `retrain` at its defaults (EfficientNet-Lite0, d = 64, 12 epochs, 8 negatives), from a process "
            "that starts to a version that serves, the first one, so that there is none to compare with.",
            table(["Stage", "Seconds"], [[name, f"{took:.1f}"] for name, took in found["stages"].items()]),
            f"Tuples/s at d = 400, the paper's link, loss, attention and two negatives, beside the same model written "
            f"plainly (samples drawn one by one, every sample's tweets and followees computed anew, padding included, "
            f"dense gradients, {PLAIN_BATCH} retweets a step instead of 2,048); features/s beside "
            f"a loop of the backbone over decoded pictures at the same batch size; medians of "
            f"{ROUNDS} rounds in turns. The paper's epoch of {_PAPERS_EPOCH:,} tuples took "
            f"{_PAPERS_SECONDS:.0f} s on its machine; here it takes {_PAPERS_EPOCH / fast:.1f} s.",
        ]
    )
    what = "retrain to activation, paper's size, cached features"
    plainly = "the same model written plainly, d = 400"
    return Section(
        "Training path",
        text,
        [
            result(what, minutes, "minutes", "", COMMAND, ("<=", 5)),
            result("peak memory of it", found["peak_mb"], "MB", "", COMMAND, None),
            result("tuples/s", _ratio(tuples), "times as fast", plainly, COMMAND, None),
            result("tuples/s", fast, "1/s", plainly, COMMAND, None),
            result("features/s", _ratio(features), "of the bare loop", "a loop of the backbone", COMMAND, None),
            result("features/s", statistics.median(kept for kept, _ in features), "1/s", "", COMMAND, None),
        ],
    )


def _ratio(rounds: list[tuple[float, float]]) -> float:
    return statistics.median(ours / beside for ours, beside in rounds)


if __name__ == "__main__":
    main()
