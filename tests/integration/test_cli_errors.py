"""What goes wrong is one line with what mends it, and a status, whatever the verb."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import service.__main__
import training.__main__
from tests.conftest import ROOT

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
    assert all(other.startswith(('{"time"', "features (", "look at pictures: ")) for other in before), said
    assert line.startswith("error: ")
    assert line.count(": ") >= 2, "what is wrong, and what mends it"
    return line


@pytest.mark.usefixtures("named_stores")
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


@pytest.mark.usefixtures("named_stores")
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


@pytest.mark.usefixtures("named_stores")
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


@pytest.mark.usefixtures("named_stores")
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


@pytest.mark.usefixtures("named_stores")
@pytest.mark.parametrize(
    "verb",
    [
        "import NEW",
        "adopt NEW FILE/out",
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


@pytest.mark.usefixtures("named_stores")
@pytest.mark.parametrize(
    "verb",
    [
        "synthesize FILE/new --users 20 --tweets 20",
        "export FILE/new",
        "adopt DATASET FILE/new",
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


@pytest.mark.usefixtures("named_stores")
def test_an_address_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_network: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))
        status, error = error_of("service serve", capsys, tmp_path, tiny_network)
    assert status == 1
    assert error.startswith(f"error: 127.0.0.1:{port} cannot be listened on")
