"""The nightly profile's loop, in a shell whose sleep and python are stand-ins."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # its stubs are not installed for one file

from tests.conftest import ROOT


def test_the_nightly_profile_retrains_at_three_and_goes_on_after_a_failure(tmp_path: Path) -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["nightly"]
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
        assert timedelta() < wakes - started < timedelta(hours=48)
    assert ended.stderr.splitlines() == ["retrain ended with status 3"] * 2
