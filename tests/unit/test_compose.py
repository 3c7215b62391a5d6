"""The compose files: what they promise, and the nightly loop in a shell whose sleep and python are stand-ins."""

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are not installed for one file

from tests.conftest import ROOT
from tests.dockerfile import stages

Services = dict[str, dict[str, Any]]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: Services = COMPOSE["services"]
OURS = {"migrate", "service", "retrain", "nightly"}
TMP = "/tmp"  # noqa: S108 - of a container
ENDS = {"migrate", "retrain"}
"""What ends by itself."""


def test_ours_are_built_here_each_image_once_and_all_others_name_a_release() -> None:
    for name in SERVICES.keys() - OURS:
        assert re.search(r":v?\d+(\.\d+)*$", SERVICES[name]["image"]), name
    cuda: Services = yaml.safe_load((ROOT / "deploy" / "cuda.yaml").read_text("utf-8"))["services"]
    assert cuda.keys() == OURS
    for services, targets in ((SERVICES, {"service", "trainer"}), (cuda, {"service-cuda", "trainer-cuda"})):
        built = [services[name] for name in OURS if "build" in services[name]]
        assert sorted(service["build"]["target"] for service in built) == sorted(targets)
        assert targets <= stages().keys()
        assert {services[name]["image"] for name in OURS} == {service["image"] for service in built}


def test_ports_are_of_loopback_alone() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_ours_run_on_a_read_only_root_as_nobody_of_note() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, [TMP], ["ALL"]), name
        mounted = {volume.split(":")[1] for volume in service["volumes"]}
        assert mounted == {"/app/var", "/app/exported_models"}, name


def test_whatever_runs_on_says_how_it_is_and_starts_again() -> None:
    of_dockerfile = {name for name in OURS - ENDS if any(step == "HEALTHCHECK" for step, _ in stages()["serving"][1])}
    for name in SERVICES.keys() - ENDS:
        assert "healthcheck" in SERVICES[name] or name in of_dockerfile, name
        assert SERVICES[name]["restart"] == "unless-stopped", name
    for name, service in SERVICES.items():
        for other, on in service.get("depends_on", {}).items():
            ends = on["condition"] == "service_completed_successfully"
            assert ends or "healthcheck" in SERVICES[other], f"{name} waits for {other}"


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_dir() if source.startswith("./") else source in COMPOSE["volumes"], source
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()


def test_the_nightly_profile_retrains_at_three_and_goes_on_after_a_failure(tmp_path: Path) -> None:
    service = SERVICES["nightly"]
    assert service["profiles"] == ["nightly"]
    assert "DATABASE_URL" in service["environment"]
    for name, script in {
        "sleep": 'echo "sleep $1" >> calls; [ "$(grep -c sleep calls)" -le 2 ]',
        "python": 'echo "python $*" >> calls; exit 3',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    (loop,) = service["command"]
    shell = [*service["entrypoint"], loop.replace("$$", "$")]
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    started = datetime.now(UTC)
    ended = subprocess.run(shell, cwd=tmp_path, env=path, capture_output=True, text=True, timeout=20)
    calls = (tmp_path / "calls").read_text("utf-8").splitlines()
    assert calls[1::2] == ["python -m training retrain"] * 2
    for call in calls[0::2]:
        wakes = started + timedelta(seconds=int(call.removeprefix("sleep ")))
        assert abs(wakes - wakes.replace(hour=3, minute=0, second=0, microsecond=0)) < timedelta(seconds=30)
        assert timedelta() < wakes - started <= timedelta(hours=24)
    assert ended.stderr.splitlines() == ["retrain ended with status 3"] * 2
