"""The sdist and the wheel: whole, and installed with nothing but what an extra names."""

import json
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from contract.tables import SCHEMA_REVISION
from tests.conftest import ROOT, own_database
from tests.installed import build, closure, environment_with, uv, without_this_checkout

PACKAGES = ("contract", "service", "training")
PAST_ONE_MACHINE = {"ray", "pandas", "torchrec", "fbgemm_gpu", "tensordict", "s3fs", "aiobotocore", "botocore", "simpy"}
MISSING = {
    "service": {"torch", "torchvision", "onnx", "onnxscript", "sklearn", "scipy", "pyarrow", *PAST_ONE_MACHINE},
    "training": {"fastapi", "starlette", "uvicorn", "httptools", "prometheus_client", *PAST_ONE_MACHINE},
}
"""What docs/scale.md has is an extra each."""
UNPINNED = {"pip", "setuptools"}
"""What pip-compile leaves to the environment."""
FOUND = """
import sys
from importlib.util import find_spec
print([name for name in sys.argv[1:] if find_spec(name)])
"""
IMPORT_ALL = """
import importlib, json, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        importlib.import_module(module.name)
print(json.dumps([importlib.import_module("contract").__file__, *sys.modules]))
"""
"""A module that needs what is not there ends it."""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module", params=MISSING)
def installed(
    request: pytest.FixtureRequest, distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """An extra, and the Python that has it."""
    extra: str = request.param
    return extra, environment_with(distributions[1], extra, tmp_path_factory.mktemp(extra) / "venv")


def run(python: Path, *arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = without_this_checkout(VAR_DIR=str(folder / "var"), **more)
    return subprocess.run([python, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def of_repository() -> Iterator[tuple[str, Path]]:
    """What belongs into the wheel: its name there, and where it is."""
    for folder, name in [*zip(PACKAGES, PACKAGES, strict=True), ("alembic", "contract/migrations")]:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{name}/{path.relative_to(ROOT / folder)}", path


def test_the_wheel_has_every_file_of_the_packages_and_the_migrations(distributions: tuple[Path, Path]) -> None:
    expected = {name: path.read_bytes() for name, path in of_repository()}
    assert {"contract/migrations/env.py", "training/tuned.json", "training/report/page.css"} <= expected.keys()
    with zipfile.ZipFile(distributions[1]) as wheel:
        found = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected


def test_the_sdist_has_what_builds_and_checks_it(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames()}
    assert {"Makefile", "requirements.lock", "alembic.ini", "tests/conftest.py", "Dockerfile", "LICENSE"} <= names
    assert {str(path.relative_to(ROOT)) for _, path in of_repository()} <= names
    assert not {name for name in names if name.startswith((".venv", "var/", "dist/"))}


def test_each_side_has_all_that_it_imports_and_nothing_of_the_other(
    installed: tuple[str, Path], tmp_path: Path
) -> None:
    extra, python = installed
    ended = run(python, "-c", IMPORT_ALL, "contract", extra, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    where, *modules = json.loads(ended.stdout)
    assert Path(where).is_relative_to(python.parents[1])
    assert not MISSING[extra] & set(modules)
    assert run(python, "-c", FOUND, *sorted(MISSING[extra]), folder=tmp_path).stdout == "[]\n"


def test_uv_finds_every_requirement_met(installed: tuple[str, Path]) -> None:
    assert "All installed packages are compatible" in uv("check", python=installed[1])


def test_the_command_lines_tell_help_and_version(installed: tuple[str, Path], tmp_path: Path) -> None:
    extra, python = installed
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    told = run(python, "-m", extra, "--version", folder=tmp_path)
    assert (told.returncode, told.stdout) == (0, f"image-tweet-recommender {version}\n")
    helped = run(python, "-m", extra, "--help", folder=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert f"python -m {extra}" in helped.stdout


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_an_installed_wheel_makes_and_migrates_its_database(
    installed: tuple[str, Path], tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    _, python = installed
    url = {"DATABASE_URL": request.getfixturevalue("postgresql_url")} if kind == "PostgreSQL" else {}
    for _ in range(2):
        ended = run(python, "-m", "contract.migrate", folder=tmp_path, **url)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"the database has schema {SCHEMA_REVISION}\n", "")
    opens = (
        "import asyncio\nfrom contract.environment import StoreSettings\nfrom contract.tables import open_database\n"
        "async def opens():\n    async with open_database(StoreSettings().sqlalchemy_url): print('opened')\n"
        "asyncio.run(opens())"
    )
    assert run(python, "-c", opens, folder=tmp_path, **url).stdout == "opened\n"


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    with own_database() as url:
        yield url


def test_the_lock_is_one_for_pip_and_uv(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    """What pip installed by it here is what uv would."""
    lines = [line for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines() if not line.startswith("#")]
    locked = {canonicalize_name(Requirement(line).name): line for line in lines if line}
    (metadata,) = (path for path in zipfile.Path(distributions[1]).iterdir() if path.name.endswith(".dist-info"))
    required = closure(PathDistribution(metadata), {"service", "training", "dev"})
    needed = set(map(canonicalize_name, required)) - UNPINNED
    assert needed <= locked.keys(), "run `make lock`"
    (tmp_path / "requirements.txt").write_text("\n".join(locked[name] for name in needed), "utf-8")
    options = ("--offline", "--dry-run", "--no-deps", "-r", tmp_path / "requirements.txt")
    assert "Would make no changes" in uv("install", *options, python=Path(sys.executable))
