"""Completion in the shells themselves: a script is read, a line is typed, TAB is pressed."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from training.__main__ import main

SECONDS = 30
"""For a shell to answer; only one that does not is waited for so long."""


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Path]:
    """The script of a shell, beside two versions."""

    def write(shell: str) -> Path:
        assert main(["completion", shell]) == 0
        path = tmp_path / "_image-tweets-training"
        path.write_text(capsys.readouterr().out, "utf-8")
        for version in ("20260401T-one", "20260401T-two"):
            (tmp_path / "versions" / version).mkdir(parents=True)
        (tmp_path / "own.pth").touch()
        return path

    return write


def need(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


def typed(command: list[str], first: str, line: str, shown: str, folder: Path) -> str:
    """What a shell on a terminal shows once a line is typed and TAB pressed, up to what is looked for."""
    controller, terminal = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder), "MODELS_DIR": "versions"}
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=folder, env=environment, start_new_session=True
    ) as process:
        os.close(terminal)
        try:
            os.write(controller, f"PS1=; {first}; echo rea''dy\n".encode())
            seen = _until("ready", controller)
            os.write(controller, f"{line}\t".encode())
            return seen + _until(shown, controller)
        finally:
            process.kill()
            os.close(controller)


def _until(shown: str, controller: int) -> str:
    seen, deadline = "", time.monotonic() + SECONDS
    while shown not in seen:
        readable, _, _ = select.select([controller], [], [], max(0, deadline - time.monotonic()))
        assert readable, f"{shown!r} is not in {seen!r}"
        seen += os.read(controller, 4096).decode(errors="replace")
    return seen


LINES = [
    ("image-tweets-training repr", "reproduce"),
    ("image-tweets-training models rep", "report"),
    ("image-tweets-training retrain --link soft", "softplus"),
    ("image-tweets-training retrain --dry", "--dry-run"),
    ("image-tweets-training retrain --weights ow", "own.pth"),
    ("image-tweets-training retrain --word-vectors ow", "own.pth"),
    ("image-tweets-training retrain --residual t", "true"),
    ("image-tweets-training models activate 20260401T-o", "20260401T-one"),
]


@pytest.mark.parametrize(("line", "completed"), LINES)
def test_bash_completes(line: str, completed: str, script: Callable[[str], Path]) -> None:
    path = script("bash")
    typed([need("bash"), "--norc", "-i"], f"source {path}", line, completed, path.parent)


@pytest.mark.parametrize(("line", "completed"), LINES)
def test_zsh_completes(line: str, completed: str, script: Callable[[str], Path]) -> None:
    path = script("zsh")
    load = f"fpath=({path.parent} $fpath); autoload -Uz compinit; compinit -u -D"
    typed([need("zsh"), "-f", "-i"], load, line, completed, path.parent)


@pytest.mark.parametrize(("line", "completed"), LINES)
def test_fish_completes(line: str, completed: str, script: Callable[[str], Path]) -> None:
    path = script("fish")
    asked = [need("fish"), "--no-config", "-c", f"source {path}; complete --do-complete '{line}'"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(path.parent), "MODELS_DIR": "versions"}
    answer = subprocess.run(asked, cwd=path.parent, env=environment, capture_output=True, text=True, check=True)
    assert answer.stderr == ""
    assert completed in [offered.split("\t")[0] for offered in answer.stdout.splitlines()]


@pytest.mark.parametrize("module", ["training", "service"])
def test_a_shell_reads_the_script_of_each_command(module: str) -> None:
    read = f'eval "$({shlex.quote(sys.executable)} -m {module} completion bash)" && complete -p image-tweets-{module}'
    answer = subprocess.run([need("bash"), "-c", read], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.endswith(f" image-tweets-{module}\n")
    assert answer.stderr == ""
