"""The trainer's command line: resuming, and one-line errors."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.embedded import EmbeddedValkey
from contract.environment import StoreSettings
from contract.errors import StoreUnavailable
from tests.conftest import ROOT, valkey_servers, wait_until
from training.__main__ import main

TINY = ["--backbone", "tiny", "--dim", "8", "--text-dim", "8", "--word-dim", "8"]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "training", *arguments]
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children ignore it
    try:
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, inherited)


def test_an_interrupted_retrain_goes_on_where_it_was(named_stores: StoreSettings, tiny_network: Path) -> None:
    assert main(["import", str(tiny_network)]) == 0
    arguments = ["retrain", *TINY, "--epochs", "400"]
    first = start(*arguments)
    runs = named_stores.var_dir / "runs"
    wait_until(lambda: reached(any(runs.glob("*/checkpoint.pt")), first), 60)
    (folder,) = [path for path in runs.iterdir() if path.is_dir()]
    first.send_signal(signal.SIGINT)
    output, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors
    assert "run the same command again to go on" in errors
    assert "Traceback" not in errors
    version = (folder / "version").read_text()
    epochs_done = load_epoch(folder / "checkpoint.pt")
    assert 0 < epochs_done < 400
    second = start(*arguments)
    output, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    assert f"version {version} serves now" in output
    assert f"of {400 - epochs_done} after" in errors  # only the epochs that were left
    assert not folder.exists()


def load_epoch(checkpoint: Path) -> int:
    import torch

    epoch: int = torch.load(checkpoint, weights_only=True)["epoch"]
    return epoch


def reached(condition: bool, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, process.communicate()
    return condition


@pytest.mark.usefixtures("named_stores")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["import", "no-such-folder"], "no-such-folder"),
        (["retrain", *TINY], "0 retweets"),
        (["publish", "no-such-version"], "no-such-version"),
        (["demo", "no-such-folder"], "no-such-folder"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert named in error
    assert error.count("\n") == 1


def test_weights_that_do_not_fit_are_refused(
    named_stores: StoreSettings, tiny_network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(tiny_network)]) == 0
    weights = named_stores.var_dir / "weights.pth"
    weights.write_bytes(b"no weights")
    capsys.readouterr()
    assert main(["retrain", "--backbone", "efficientnet_lite0", "--weights", str(weights)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: weights file {weights} does not fit")


@pytest.mark.usefixtures("named_stores")
def test_word_vectors_of_another_size_are_refused(
    tiny_network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(tiny_network)]) == 0
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("the 1 2 3\n", "utf-8")
    capsys.readouterr()
    assert main(["retrain", *TINY, "--word-vectors", str(vectors)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {vectors}, line 1: 3 numbers after the word, and --word-dim is 8")


@pytest.mark.usefixtures("named_stores")
def test_a_database_without_schema_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    assert main(["retrain", *TINY]) == 1
    assert "run `alembic upgrade head`" in capsys.readouterr().err


def test_a_second_process_adopts_the_running_server_and_replaces_an_orphans(named_stores: StoreSettings) -> None:
    folder = named_stores.var_dir / "valkey"
    script = (
        "import sys, time; from pathlib import Path; from contract.embedded import EmbeddedValkey\n"
        "server = EmbeddedValkey(Path(sys.argv[1])); server.start(); print('up', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, env=os.environ, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    adopted = EmbeddedValkey(folder)
    adopted.start()
    adopted.stop()  # not its own: goes on
    again = EmbeddedValkey(folder)
    again.start()
    owner.kill()
    owner.communicate()
    again.start()  # at once: the orphan may still be ending
    assert (folder / "lock").read_text() == str(os.getpid())
    (server,) = valkey_servers(named_stores.var_dir)
    server.kill()
    again.start()  # killed: a new one
    again.stop()
    with pytest.raises(StoreUnavailable, match="too long"):
        EmbeddedValkey(folder / ("x" * 100))
