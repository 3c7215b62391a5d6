"""What the Dockerfile builds, step by step without a container engine, and run as in a read-only container.

The trainer's packages are links to those that are installed here, since PyTorch's take minutes to install.
"""

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until
from tests.dockerfile import Image, build, stages
from tests.installed import build as build_distributions
from tests.installed import environment_with
from tests.integration.running import png
from tests.processes import free_port

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="an image's steps are root's, and its user is another"),
]

TARGETS = {
    "service": "service",
    "service-cuda": "service-gpu",
    "trainer": "training",
    "trainer-cuda": "training",
}
API_KEY = "a-key-of-this-test"


@pytest.fixture
def folder() -> Iterator[Path]:
    """That the images' user can enter, with a path short enough for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="itr") as name:
        Path(name).chmod(0o755)
        yield Path(name).resolve()


def test_the_targets_are_what_they_are_called() -> None:
    found = stages()
    assert list(found)[-1] == "service"  # what is built without a target
    for target, extra in TARGETS.items():
        base, steps = found[target]
        (copied,) = (value for instruction, value in steps if instruction == "COPY")
        assert copied == f"--from=build-{target} /venv /venv"
        assert base == ("serving" if extra.startswith("service") else "training")
        ((_, run),) = (step for step in found[f"build-{target}"][1] if step[0] == "RUN")
        assert f'pip install --constraint requirements.lock ".[{extra}${{EXTRAS:+,$EXTRAS}}]"' in run
        assert ("-delete" in run) == (not target.endswith("cuda"))


def test_a_trainer_and_a_service_work_on_read_only_roots_with_the_volumes_they_share(folder: Path) -> None:
    trainer, service = built_trainer(folder / "t"), built_service(folder / "s", folder / "t")
    assert trainer.run(*trainer.entrypoint, *trainer.command).startswith("usage: python -m training")
    trainer.run("python", "-m", "contract.migrate")
    train(trainer)
    port = free_port()
    process = service.start(*service.command, PORT=str(port), API_KEY=API_KEY)
    try:
        assert healthy(service, port) != 0
        wait_until(lambda: process.poll() is not None or healthy(service, port) == 0, 60)
        assert process.poll() is None, process.communicate()
        use(f"http://127.0.0.1:{port}")
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert "the encoder runs on the CPU" in log
    assert not re.search("Read-only|Permission denied|ERROR", log), log
    assert process.returncode in (0, -signal.SIGTERM)


def built_trainer(root: Path) -> Image:
    """Its packages are linked."""
    root.mkdir()

    def install(environment: Path, command: str) -> None:
        assert '".[training${EXTRAS:+,$EXTRAS}]"' in command
        environment_with(build_distributions(root.with_name("dist"))[1], "training", environment)

    return checked(build("trainer", root, install))


def built_service(root: Path, shares: Path) -> Image:
    """On the volumes of another image."""
    root.mkdir()
    image = checked(build("service", root))
    assert not list(root.rglob("libonnxruntime_providers_cuda*"))
    for volume in image.volumes:
        image.place(volume).rmdir()
        image.place(volume).symlink_to(shares / volume.lstrip("/"))
    return image


def checked(image: Image) -> Image:
    """Nothing of the build is left, and its user may write to the volumes alone."""
    assert image.user == 10001
    assert {path.name for path in image.root.iterdir()} == {"base", "tmp", "venv", "app"}
    writable = [path for path in image.root.rglob("*") if path.is_dir() and path.stat().st_uid == image.user]
    assert {str(path) for path in writable} == {image.mapped(volume) for volume in image.volumes}
    return image


def train(trainer: Image) -> None:
    """A small model, as the image's user."""
    made = ("var/dataset", "--users", "60", "--tweets", "80")
    small = ("--backbone", "tiny", "--dim", "16", "--text-dim", "16", "--word-dim", "16", "--epochs", "2")
    trainer.run(*trainer.entrypoint, "synthesize", *made)
    trainer.run(*trainer.entrypoint, "import", "var/dataset")
    assert "serves now" in trainer.run(*trainer.entrypoint, "retrain", *small)
    trainer.run(*trainer.entrypoint, "models", "report")


def healthy(service: Image, port: int) -> int:
    """The exit status of the image's health check."""
    check = service.start(*service.healthcheck, PORT=str(port))
    check.communicate()
    return check.returncode


def use(url: str) -> None:
    """Ask, and post a picture that is large enough to be put into a file on the way."""
    assert httpx.get(f"{url}/users/u0001/recommendations").status_code == 401
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {API_KEY}"}, timeout=30) as client:
        answer = client.get("/users/u0001/recommendations")
        assert (answer.status_code, len(answer.json()["items"])) == (200, 3)
        image = png() + b"\0" * 2_000_000  # what follows a picture's end is ignored
        posted = client.post("/tweets", data={"author_id": "u0001", "text": "Calm."}, files={"image": image})
        assert (posted.status_code, posted.json()["status"]) == (201, "ready")
