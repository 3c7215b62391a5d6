"""`python -m service` as a process of its own, for the tests that want real HTTP."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil

from contract.environment import StoreSettings
from tests.conftest import ROOT, wait_until
from tests.secrets import no_secrets_in

READY_SECONDS = 60


@dataclass(frozen=True)
class Running:
    """A service that is ready, and what it logs."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def memory(self) -> int:
        """Bytes that the process has in memory."""
        resident: int = psutil.Process(self.process.pid).memory_info().rss
        return resident


@contextmanager
def service_process(
    environment: Mapping[str, str],
    log: Path,
    python: str = sys.executable,
    folder: Path = ROOT,
    until: Literal["ready", "live"] = "ready",
) -> Iterator[Running]:
    """A service on the PORT of its environment; killed in the end."""
    url = f"http://127.0.0.1:{environment['PORT']}"
    with log.open("ab") as stderr:
        process = subprocess.Popen([python, "-m", "service"], cwd=folder, env=environment, stderr=stderr)
    try:
        wait_until(lambda: is_up(url, process, until), READY_SECONDS)
        yield Running(url, process, log)
    finally:
        process.kill()
        process.wait()
        no_secrets_in(log)


@contextmanager
def two_services(stores: StoreSettings, folder: Path) -> Iterator[list[str]]:
    """URLs of two services on the same stores, which log into a folder."""
    with ExitStack() as stack:
        started = [stack.enter_context(service_process(environment_of(stores), folder / name)) for name in "ab"]
        yield [running.url for running in started]


def is_up(url: str, process: subprocess.Popen[Any], what: str) -> bool:
    assert process.poll() is None, "the service ended"
    try:
        return httpx.get(f"{url}/health/{what}").status_code == 200
    except httpx.TransportError:
        return False


def environment_of(stores: StoreSettings, **more: str) -> dict[str, str]:
    """The variables of a service on these stores, at a free port."""
    inherited = {name: value for name, value in os.environ.items() if name.lower() not in StoreSettings.model_fields}
    of_stores = {name.upper(): str(value) for name, value in stores.model_dump().items() if value is not None}
    return inherited | of_stores | {"PORT": str(free_port()), "DEVICE": "cpu"} | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_KILLED_AT = """
import importlib, os, signal, sys
import training.__main__
turns, module, name, calls, *command = sys.argv[1:]
of_turns, size = turns.split(":")
setattr(importlib.import_module(of_turns), size, 16)
importlib.import_module(f"training.{command[0]}")
of_function, called = importlib.import_module(module), [0]
real = getattr(of_function, name)
def counted(*arguments, **named):
    called[0] += 1
    if called[0] == int(calls):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)
setattr(of_function, name, counted)
sys.exit(training.__main__.main(command))
"""


def killed_at(module: str, name: str, calls: int, turns: str, *command: str) -> list[str]:
    """Python's arguments for a training command that is killed at the n-th call of a function.

    `turns`: what says how much is done at a time, as `module:NAME`; it is 16 there.
    """
    return ["-c", _KILLED_AT, turns, module, name, str(calls), *command]
