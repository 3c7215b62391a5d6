"""A real server that speaks S3 (moto's), in a process of its own, for the tests."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import fsspec
import httpx
import pytest

from contract import die_with_parent
from tests.conftest import wait_until
from tests.processes import free_port

BUCKET = "pictures"


@dataclass
class ObjectStore:
    """The server, which a test may stop, freeze and start; what it has is gone when it is stopped."""

    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """Where it is, and who asks."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "hushhush",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def url(self, folder: str) -> str:
        return f"s3://{BUCKET}/{folder}"

    def start(self) -> None:
        """With an empty bucket."""
        served = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        command = [sys.executable, die_with_parent.__file__, str(os.getpid()), *served]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, 30)
        httpx.put(f"http://127.0.0.1:{self.port}/{BUCKET}").raise_for_status()

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Connections are taken, and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def keys(self, folder: str = "") -> set[str]:
        """Of all objects in a folder, below it."""
        root = f"{BUCKET}/{folder}".rstrip("/")
        fs = fsspec.filesystem("s3", skip_instance_cache=True, endpoint_url=self.variables["AWS_ENDPOINT_URL"])
        return {path.removeprefix(f"{root}/") for path in fs.find(root)}

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the object store ended"
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/").status_code < 500
        except httpx.TransportError:
            return False


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Running, and named by the environment."""
    store = ObjectStore()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in store.variables.items():
            patch.setenv(name, value)
        store.start()
        try:
            yield store
        finally:
            store.stop()
