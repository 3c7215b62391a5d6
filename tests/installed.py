"""Built distributions in environments of their own, whose other packages are links to those that are installed here."""

import os
import subprocess
import sys
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from contract.release import NAME
from tests.conftest import ROOT

UV = Path(sys.executable).with_name("uv")


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is made from it."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, env=without_this_checkout())
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def environment_with(wheel: Path, extra: str, folder: Path) -> Path:
    """The Python of an environment made anew with the wheel, installed by uv, and what it requires with an extra."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    uv("install", "--offline", "--no-deps", wheel, python=python)
    (packages,) = folder.glob("lib/python*/site-packages")
    (installed,) = (PathDistribution(info) for info in packages.glob(f"{NAME.replace('-', '_')}-*.dist-info"))
    for required in closure(installed, {extra}).values():
        link(required, packages)
    return python


def uv(verb: str, *arguments: str | Path, python: Path) -> str:
    """`uv pip` on an environment; what it says."""
    command = [UV, "pip", verb, "--python", python, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=without_this_checkout())
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def closure(root: Distribution, extras: set[str]) -> dict[str, Distribution]:
    """All that a distribution requires, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(root, extra) for extra in ("", *extras)]
    while queue:
        requiring, extra = queue.pop()
        for requirement in map(Requirement, requiring.requires or []):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            required = root if requirement.name == NAME else distribution(requirement.name)
            if required is not root:
                found[required.name] = required
            new = {(required.name, more) for more in ("", *requirement.extras)} - seen
            seen |= new
            queue += [(required, more) for _, more in new]
    return found


def link(installed: Distribution, packages: Path) -> None:
    """A distribution's files, without its commands."""
    for file in installed.files or []:
        if ".." not in file.parts:
            place = packages / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(Path(str(file.locate())))


def without_this_checkout(**more: str) -> dict[str, str]:
    """This process' environment, but for what would let another Python find the packages here, or their stores."""
    hidden = {"PYTHONPATH", "VIRTUAL_ENV", "DATABASE_URL", "REDIS_URL", "API_KEY"}
    return {name: value for name, value in os.environ.items() if name not in hidden} | more
