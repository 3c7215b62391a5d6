"""What goes wrong is one line with what mends it, whatever the verb, and a status; the terminal and the pipe."""

import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import service.__main__
import training.__main__
from contract.environment import StoreSettings
from tests.conftest import ROOT, fresh_stores

TINY = ["--backbone", "tiny"]
WITH_SQL = [
    "training export NEW",
    "training backup NEW",
    "training retrain --backbone tiny",
    "service keys create app",
    "service keys list",
    "service keys revoke 1a2b",
    "service serve",
]
WITH_REDIS = [
    "training import DATASET",
    "training restore NEW",
    "training publish v1",
    "training models list",
    "training models show v1",
    "training models compare v1 v2",
    "training models activate v1",
    "training models rollback",
    "training models trial",
    "training models trial v1 --share .1",
    "training models end-trial",
    "training models report",
    "training models delete v1",
    "training models redact",
    "training models rebuild-redis",
]
"""And SQL."""
WITH_SETTINGS = [*WITH_SQL, *WITH_REDIS, "training models verify v1", "training evaluate --data DATASET"]


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreSettings]:
    """Migrated embedded stores, named by this process's environment."""
    with fresh_stores("embedded") as settings:
        for name in ("DATABASE_URL", "REDIS_URL", "BLOB_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("VAR_DIR", str(settings.var_dir))
        monkeypatch.setenv("MODELS_DIR", str(settings.models_dir))
        yield settings


def error_of(line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path) -> tuple[int, str]:
    """Status and the one line of a command."""
    module, *words = line.split()
    if words == ["serve"]:  # a process of its own, since it sets up the log
        ended = subprocess.run([sys.executable, "-m", module], cwd=ROOT, capture_output=True, text=True, check=False)
        return ended.returncode, one_error(ended.stdout, ended.stderr)
    places = {"NEW": str(tmp_path / "new"), "DATASET": str(dataset), "FILE": str(tmp_path / "file")}
    main = {"training": training.__main__.main, "service": service.__main__.main}[module]
    capsys.readouterr()
    status = main([places.get(word, word.replace("FILE/", f"{tmp_path / 'file'}/")) for word in words])
    return status, one_error(*capsys.readouterr())


def one_error(output: str, said: str) -> str:
    """The last line; before it there are but progress, and the service's log."""
    *before, line = said.splitlines()
    assert output == ""
    assert all(other.startswith(('{"time"', "features (")) for other in before), said
    assert line.startswith("error: ")
    assert line.count(": ") >= 2, "what is wrong, and what mends it"
    return line


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("line", [*WITH_SQL, *WITH_REDIS])
def test_a_database_that_is_down(
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_network: Path,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres:hidden@127.0.0.1:1/none")
    status, error = error_of(line, capsys, tmp_path, tiny_network)
    assert status == 1
    assert "check DATABASE_URL" in error
    assert "hidden" not in error


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("line", [*WITH_REDIS, "service serve"])
def test_a_redis_that_is_down(
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_network: Path,
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    status, error = error_of(line, capsys, tmp_path, tiny_network)
    assert status == 1
    assert "check REDIS_URL" in error


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("line", WITH_SETTINGS)
def test_a_variable_with_a_wrong_value_is_named(
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_network: Path,
) -> None:
    monkeypatch.setenv("REDIS_NAMESPACE", "two words")
    status, error = error_of(line, capsys, tmp_path, tiny_network)
    assert status == 1
    assert error.startswith("error: REDIS_NAMESPACE: ")
    assert error.endswith("give this environment variable another value, or unset it (the default is imagetweets)")


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize(
    "verb",
    [
        "publish unheard-of",
        "models show unheard-of",
        "models verify unheard-of",
        "models activate unheard-of",
        "models delete unheard-of",
        "models trial unheard-of --share .1",
    ],
)
def test_a_version_that_is_not_known(
    verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_network: Path
) -> None:
    status, error = error_of(f"training {verb}", capsys, tmp_path, tiny_network)
    assert status == 1
    assert "unheard-of" in error


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize(
    "verb",
    [
        "import NEW",
        "restore NEW",
        "demo NEW",
        "evaluate --data NEW",
        "tune --data NEW --systems ease --out FILE",
        "reproduce --data NEW --out FILE/out",
    ],
)
def test_a_folder_that_is_not_there(
    verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_network: Path
) -> None:
    status, error = error_of(f"training {verb}", capsys, tmp_path, tiny_network)
    assert status == 1
    assert str(tmp_path) in error
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize(
    "verb",
    [
        "synthesize FILE/new --users 20 --tweets 20",
        "export FILE/new",
        "backup FILE/new",
        "reproduce --data DATASET --out FILE/new",
        "tune --data DATASET --systems ease --out FILE/new.json",
    ],
)
def test_a_place_that_cannot_be_written(
    verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_network: Path
) -> None:
    """A file stands where a folder is to be: that holds for the superuser, too."""
    (tmp_path / "file").write_text("", "utf-8")
    status, error = error_of(f"training {verb}", capsys, tmp_path, tiny_network)
    assert status == 1
    assert str(tmp_path / "file") in error


@pytest.mark.usefixtures("stores")
def test_an_address_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_network: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))
        status, error = error_of("service serve", capsys, tmp_path, tiny_network)
    assert status == 1
    assert error.startswith(f"error: 127.0.0.1:{port} cannot be listened on")


def shell(command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable} | more
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("arguments", ["completion bash", "completion bash --json", "--help", "retrain --help"])
def test_a_reader_that_has_ended_is_no_error(arguments: str) -> None:
    """As with head -1; the reader ends before anything is written."""
    ended = shell(f"set +o pipefail; (sleep 2; $PYTHON -m training {arguments}; echo $? >&2) | true")
    assert ended.stderr == "141\n"


@pytest.mark.parametrize("arguments", ["completion bash", "--help"])
def test_a_result_that_cannot_be_written_is_one_line(arguments: str) -> None:
    ended = shell(f"$PYTHON -m training {arguments} > /dev/full || echo $?")
    assert ended.stdout == "1\n"
    assert ended.stderr == (
        "error: standard output: No space left on device: free some space, then run the same command again\n"
    )


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


def test_bad_rows_are_a_warning(stores: StoreSettings, tmp_path: Path, tiny_network: Path) -> None:
    folder = shutil.copytree(tiny_network, tmp_path / "data")
    with (folder / "follows.jsonl").open("a", encoding="utf-8") as follows:
        follows.write("{}\n")
    shown = on_terminal(["import", str(folder)], TERM="xterm")
    assert "\x1b[32mimported 60 new users" in shown
    assert "\x1b[33mREJECTED 1 rows (1 of follows)" in shown
    assert str(stores.var_dir / "rejects") in shown


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_told_to_end_leaves_nothing(number: int, status: int, tmp_path: Path) -> None:
    """In the middle of making a dataset, which is a draft until it is whole."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children ignore it
    command = [sys.executable, "-m", "training", "synthesize", str(tmp_path / "new"), "--size", "paper"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, inherited)
        while not list(tmp_path.iterdir()):
            assert process.poll() is None
        time.sleep(1)  # the draft is made before what removes it is set up
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (status, "")
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
