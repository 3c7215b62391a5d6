"""`torchrun` as a person starts it, with what each process wrote in a file of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from contract.artifact import Artifact, Epoch
from contract.environment import StoreSettings
from contract.tables import ModelVersion, create_engine
from tests.conftest import ROOT
from tests.processes import environment_of

RETRAIN = ["retrain", "--backbone", "tiny", "--dim", "16", "--text-dim", "16", "--word-dim", "16", "--epochs", "2"]
"""With the settings SMALL of tests/conftest.py."""
KILLED = """
import os, signal, sys
import torch, training.__main__, training.trainer
real, called = training.trainer._train_epoch, [0]
process, epoch = sys.argv[1:3]
def counted(*arguments):
    called[0] += 1
    if os.environ["RANK"] == process and called[0] == int(epoch):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
training.trainer._train_epoch = counted
if "--shard-users" not in sys.argv:
    real_seed = torch.manual_seed
    torch.manual_seed = lambda seed: real_seed(seed + int(os.environ["RANK"]))
del sys.argv[1:3]
training.__main__.script()
"""
"""A process is killed as it begins an epoch: which process, which epoch, and the command.

Each would start with weights of its own; all must start with the first one's.
"""
LOST = (
    "error: another process of this training was killed or cannot be reached: run the same command again to go on",
    "error: told to end, as torchrun does where another process was lost: run the same command again to go on",
)
"""The one line of a process whose peer is gone, by who notices it sooner: it or torchrun."""


@dataclass(frozen=True)
class Ended:
    """How torchrun ended, and what each process wrote to standard output and standard error."""

    status: int
    output: list[str]
    said: list[str]


def torchrun(
    processes: int,
    arguments: Sequence[str],
    stores: StoreSettings,
    logs: Path,
    program: Sequence[str] = ("-m", "training"),
) -> Ended:
    """Run it to its end."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["--redirects", "3", "--log-dir", str(logs), *program, *arguments]
    environment = environment_of(stores, OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"), PYTHONPATH=str(ROOT))
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    folders = sorted(path.parent for path in logs.glob("*/attempt_0/*/stderr.log"))
    assert len(folders) == processes, ended.stderr
    output = [(folder / "stdout.log").read_text("utf-8") for folder in folders]
    said = [(folder / "stderr.log").read_text("utf-8") for folder in folders]
    return Ended(ended.returncode, output, said)


def killed(process: int, epoch: int, folder: Path) -> list[str]:
    """The program for `torchrun` in which a process is killed as it begins an epoch, counted from 1."""
    script = folder / "killed.py"
    script.write_text(KILLED, "utf-8")
    return [str(script), str(process), str(epoch)]


def of_own_weights(folder: Path) -> list[str]:
    """The same in which none is killed."""
    return killed(0, 0, folder)


async def versions(stores: StoreSettings) -> list[str]:
    """In the database."""
    engine = create_engine(stores.sqlalchemy_url)
    try:
        async with engine.connect() as connection:
            return [*(await connection.execute(select(ModelVersion.version))).scalars()]
    finally:
        await engine.dispose()


def same_but_for_rounding(made: Artifact, by_one: Artifact) -> None:
    """Vectors are compared as they are stored, in fp16."""
    assert made.user_ids == by_one.user_ids
    largest = np.abs(by_one.user_vectors_UD).max()
    assert np.abs(made.user_vectors_UD.astype(np.float32) - by_one.user_vectors_UD).max() <= 1e-3 * largest
    for system, metrics in by_one.manifest.metrics.items():
        assert made.manifest.metrics[system] == pytest.approx(metrics, abs=1e-9), system
    for ours, theirs in zip(epochs(made), epochs(by_one), strict=True):
        assert (ours.loss, ours.auc) == pytest.approx((theirs.loss, theirs.auc), rel=1e-6)


def epochs(made: Artifact) -> list[Epoch]:
    assert made.manifest.curve is not None
    return made.manifest.curve
