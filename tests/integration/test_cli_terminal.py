"""What a command writes to a terminal and to a pipe, and how it ends where it is told to."""

import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.environment import StoreSettings
from tests.conftest import ROOT


def shell(command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable} | more
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )


MIGRATE = "contract.migrate"


@pytest.mark.parametrize(
    "arguments",
    [
        "training completion bash",
        "training completion bash --json",
        "training --help",
        "training retrain --help",
        f"{MIGRATE} --help",
        MIGRATE,
    ],
)
def test_a_reader_that_has_ended_is_no_error(arguments: str, tmp_path: Path) -> None:
    """As with head -1; the reader ends before anything is written."""
    ended = shell(f"set +o pipefail; (sleep 2; $PYTHON -m {arguments}; echo $? >&2) | true", VAR_DIR=str(tmp_path))
    assert ended.stderr == "141\n"


@pytest.mark.parametrize("arguments", ["training completion bash", "training --help", MIGRATE])
def test_a_result_that_cannot_be_written_is_one_line(arguments: str, tmp_path: Path) -> None:
    ended = shell(f"$PYTHON -m {arguments} > /dev/full || echo $?", VAR_DIR=str(tmp_path))
    assert ended.stdout == "1\n"
    assert ended.stderr == (
        "error: standard output: No space left on device: free some space, then run the same command again\n"
    )


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("training nope 2>&-", 2, ""),
        ("training demo no-such-folder 2>&-", 1, ""),
        ("training completion bash >&-", 0, ""),
        ("training demo no-such-folder >&-", 1, "error: "),
    ],
)
def test_a_closed_stream_is_no_fault(command: str, status: int, said: str) -> None:
    ended = shell(f"$PYTHON -m {command}; echo $?")
    assert ended.stdout == f"{status}\n"
    assert ended.stderr.startswith(said)
    assert ended.stderr.count("\n") == bool(said)


def on_terminal(arguments: list[str], **environment: str) -> str:
    """What a command shows there."""
    controller, terminal = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | environment
    command = [sys.executable, "-m", "training", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=kept, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        shown = b""
        while part := _read(controller):
            shown += part
        process.wait()
    os.close(controller)
    return shown.decode()


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 4096)
    except OSError:  # Linux's end of file, once the last process has gone
        return b""


@pytest.mark.parametrize(
    ("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)], ids=str
)
def test_colours_on_a_terminal(more: dict[str, str], coloured: bool, tmp_path: Path) -> None:
    environment = {"TERM": "xterm"} | more
    failed = on_terminal(["demo", str(tmp_path)], **environment)
    done = on_terminal(["synthesize", str(tmp_path / "new"), "--users", "20", "--tweets", "20"], **environment)
    assert ("\x1b[31merror: " in failed) is coloured
    assert ("\x1b[32mmade 20 users" in done) is coloured
    assert ("\x1b[" in failed) is coloured


def test_no_colours_in_a_pipe(tmp_path: Path) -> None:
    ended = shell(f"$PYTHON -m training synthesize {tmp_path / 'new'} --users 20 --tweets 20", TERM="xterm")
    assert ended.stdout.startswith("made 20 users")
    assert "\x1b" not in ended.stdout + ended.stderr


def test_bad_rows_are_a_warning(named_stores: StoreSettings, tmp_path: Path, tiny_network: Path) -> None:
    folder = shutil.copytree(tiny_network, tmp_path / "data")
    with (folder / "follows.jsonl").open("a", encoding="utf-8") as follows:
        follows.write("{}\n")
    shown = on_terminal(["import", str(folder)], TERM="xterm")
    assert "\x1b[32mimported 60 new users" in shown
    assert "\x1b[33mREJECTED 1 rows (1 of follows)" in shown
    assert str(named_stores.var_dir / "rejects") in shown


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_told_to_end_leaves_nothing(number: int, status: int, tmp_path: Path) -> None:
    """In the middle of making a dataset, which is a draft until it is whole."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children ignore it
    command = [sys.executable, "-m", "training", "synthesize", str(tmp_path / "new"), "--tweets", "5000"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, inherited)
        while not list(tmp_path.glob(".new.*/*")):
            assert process.poll() is None
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (status, "")
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
