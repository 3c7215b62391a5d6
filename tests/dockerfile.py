"""The Dockerfile's instructions, carried out in a folder in place of a container's root.

Stages share the folder: what one copies from another is there already. In the end all is removed that the image would
not have. Root builds; the image's user runs, and may write to nothing but the volumes and /tmp.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template

from docker.utils import exclude_paths
from dockerfile_parse import DockerfileParser

from tests.conftest import ROOT
from tests.installed import without_this_checkout

TOP = ("venv", "src", "app", "tmp")
"""Folders of the container's root that are folders of ours; others are this machine's."""
_ABSOLUTE = re.compile(rf"(?<![\w./])/({'|'.join(TOP)})(?=[/:\s'\"]|$)")
_OF_THE_MACHINE = ("useradd",)
"""What would change this machine; the image's user is a number."""

Install = Callable[[Path, str], None]
"""Into a virtual environment, by a shell command that runs pip."""


@dataclass(frozen=True)
class Image:
    """What the instructions so far have said."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: int = 0
    has: frozenset[str] = frozenset({"tmp"})
    volumes: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()

    def place(self, path: str) -> Path:
        """Where a path of the container is here."""
        return Path(self.mapped(os.path.join(self.folder, path)))

    def mapped(self, text: str) -> str:
        """With the container's absolute paths made ours."""
        return _ABSOLUTE.sub(lambda found: f"{self.root}/{found[1]}", text)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """A process of the image's user, who may write to the volumes and to /tmp, and read what root alone may."""
        user = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        reads_all = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # Python may be in root's home
        return subprocess.Popen(
            [*user, *reads_all, *map(self.mapped, command)],
            cwd=self.place("."),
            env=self.full_environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, **environment: str) -> str:
        """What a command that succeeds writes to standard output."""
        process = self.start(*command, **environment)
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return output

    def full_environment(self, **more: str) -> dict[str, str]:
        """This machine's, then the image's."""
        return without_this_checkout(**self.environment) | {"HOME": str(self.root / "tmp")} | more


def build(target: str, root: Path, install: Install | None = None) -> Image:
    """Build a target in an empty folder. `install` is done in place of the commands that run pip."""
    return Build(root, install).image(target)


class Build:
    """One build."""

    def __init__(self, root: Path, install: Install | None) -> None:
        self._root, self._install = root, install
        self._stages = stages()
        self._done: dict[str, Image] = {}
        ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        self._context = {path for path in exclude_paths(str(ROOT), ignored) if (ROOT / path).is_file()}

    def image(self, target: str) -> Image:
        """The finished one."""
        (self._root / "tmp").mkdir()
        (self._root / "tmp").chmod(0o1777)
        (self._root / "base").mkdir()
        (self._root / "base" / "python").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
        image = self._stage(target)
        for name in set(TOP) - image.has:
            shutil.rmtree(self._root / name, ignore_errors=True)
        return image

    def _stage(self, name: str) -> Image:
        if name not in self._done:
            base, instructions = self._stages[name]
            image = self._stage(base) if base in self._stages else self._of_registry()
            for instruction, value in instructions:
                image = self._step(image, instruction, value)
            self._done[name] = image
        return self._done[name]

    def _of_registry(self) -> Image:
        """An image with Python alone."""
        return Image(self._root, {"PATH": f"{self._root / 'base'}{os.pathsep}{os.environ['PATH']}"})

    def _step(self, image: Image, instruction: str, value: str) -> Image:
        match instruction:
            case "ENV" | "ARG":
                new = (pair.split("=", 1) for pair in shlex.split(value))
                known = image.environment
                values = {key: image.mapped(Template(text).substitute(known)) for key, text in new}
                return replace(image, environment=known | values)
            case "WORKDIR":
                image.place(value).mkdir(parents=True, exist_ok=True)
                return replace(image, folder=value, has=image.has | {top(value)})
            case "COPY":
                return self._copy(image, *value.split())
            case "RUN":
                self._run(image, re.sub(r"^(--\S+\s+)*", "", value))
                return image
            case "USER":
                user, group = map(int, value.split(":"))
                assert user == group
                return replace(image, user=user)
            case "VOLUME":
                return replace(image, volumes=tuple(json.loads(value)))
            case "ENTRYPOINT":
                return replace(image, entrypoint=tuple(json.loads(value)))
            case "CMD":
                return replace(image, command=tuple(json.loads(value)))
            case "HEALTHCHECK":
                return replace(image, healthcheck=tuple(json.loads(value.split("CMD", 1)[1])))
            case "EXPOSE":
                return image
        raise NotImplementedError(instruction)

    def _run(self, image: Image, command: str) -> None:
        if command.startswith(_OF_THE_MACHINE):
            return
        if "pip install" in command and self._install is not None:
            self._install(image.place("/venv"), command)
            return
        shell = ["/bin/sh", "-c", image.mapped(command)]
        ended = subprocess.run(
            shell, cwd=image.place("."), env=image.full_environment(), umask=0o022, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr

    def _copy(self, image: Image, *parts: str) -> Image:
        *sources, destination = parts
        if sources[0].startswith("--from="):
            self._stage(sources[0].removeprefix("--from="))
            assert image.place(sources[1]).exists()
            assert sources[1:] == [destination], "stages share a folder: the same path is meant"
            return replace(image, has=image.has | {top(destination)})
        for source in sources:
            files = {path for path in self._context if path == source or path.startswith(f"{source.rstrip('/')}/")}
            assert files, f"{source} is not in the context: .dockerignore leaves it out"
            for path in files:
                copy = image.place(destination) / (Path(path).relative_to(source) if source != path else path)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, copy)
        return image


def stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """By name: what each begins from, and its instructions."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for step in DockerfileParser(str(ROOT / "Dockerfile")).structure:
        if step["instruction"] == "FROM":
            base, _, name = step["value"].split()
            found[name] = (base, [])
        elif step["instruction"] != "COMMENT":
            found[name][1].append((step["instruction"], step["value"]))
    return found


def top(path: str) -> str:
    """Its first folder."""
    return Path(path).parts[1]
