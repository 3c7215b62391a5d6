"""The OpenAPI document and the running service say the same: schemathesis asks, with all its checks."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, trained_stores
from tests.processes import Running, environment_of, service_process

KEY = "a key for the schema's test"
SEED = 20261126
CASES_AN_OPERATION = 75
LEAST_CASES = 2_000
LEAST_ANSWERED = 0.25
"""Share of 2xx that every operation with parameters has at least; the rest are the faults that schemathesis makes."""


@pytest.fixture(scope="module")
def running(tiny_network: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """On stores of its own: what a fuzzer leaves there is no other test's concern."""
    with trained_stores("embedded", tiny_network, versions=2) as stores:
        environment = environment_of(stores, API_KEY=KEY)
        with service_process(environment, tmp_path_factory.mktemp("log") / "service.log") as started:
            yield started


def fuzz(running: Running, folder: Path) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Schemathesis' end, and a line a call."""
    calls = folder / "calls.jsonl"
    hooks = {
        "SCHEMATHESIS_HOOKS": str(ROOT / "tests/e2e/schema_hooks.py"),
        "SCHEMA_URL": running.url,
        "SCHEMA_KEY": KEY,
        "SCHEMA_CALLS": str(calls),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/openapi.json"]
    options = ["--header", f"Authorization: Bearer {KEY}", "--checks", "all", "--seed", str(SEED), "--no-color"]
    amount = ["--max-examples", str(CASES_AN_OPERATION), "--continue-on-failure", "--request-timeout", "20"]
    ended = subprocess.run(
        [*command, *options, *amount], cwd=folder, env=os.environ | hooks, capture_output=True, text=True, check=False
    )
    return ended, [json.loads(line) for line in calls.read_text("utf-8").splitlines()]


@pytest.mark.timeout(900)
def test_every_answer_is_as_the_document_says(running: Running, tmp_path: Path) -> None:
    document = httpx.get(f"{running.url}/openapi.json").json()
    ended, calls = fuzz(running, tmp_path)
    assert ended.returncode == 0, ended.stdout[-10_000:] + ended.stderr
    assert len(calls) >= LEAST_CASES
    assert not [call for call in calls if call["status"] >= 500]
    assert '"level": "ERROR"' not in running.log.read_text("utf-8")
    asked = [call for call in calls if call["status"] != 405]
    total = Counter(call["operation"] for call in asked)
    answered = Counter(call["operation"] for call in asked if call["status"] < 300)
    assert set(total) == {f"{method.upper()} {path}" for path, ops in document["paths"].items() for method in ops}
    del total["DELETE /models/{version}"]  # of two versions, of which one serves
    poor = {name: (answered[name], total[name]) for name in total if answered[name] < LEAST_ANSWERED * total[name]}
    assert not poor
    in_batches = Counter(status for call in calls for status in call.get("items", []))
    assert in_batches[201] > 30, in_batches
