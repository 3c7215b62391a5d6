"""A retrain that is killed at each of its steps in turn: the old version serves on, and the next retrain goes on."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.environment import StoreSettings
from tests.conftest import ROOT, copied_stores
from tests.processes import environment_of, killed_at, service_process

RETRAIN = ["retrain", "--backbone", "tiny", "--dim", "16", "--text-dim", "16", "--word-dim", "16", "--epochs", "4"]
RETRAIN += ["--seed", "7", "--worse-by", "1"]
STEPS = [
    ("training.retrain", "read_network", 1),
    ("training.retrain", "visual_part", 1),
    ("training.retrain", "fit", 1),
    ("training.checkpoints", "save", 3),
    ("training.retrain", "judge_all", 1),
    ("training.export", "export_ranker", 1),
    ("training.retrain", "verify", 1),
    ("training.retrain", "keep_vectors", 1),
    ("training.retrain", "pass_gate", 1),
    ("training.publish", "register", 1),
    ("training.publish", "store_vectors", 3),
    ("contract.rebuild", "_copy_some", 1),
    ("training.publish", "rebuild_graph", 1),
    ("training.publish", "fold_in_untrained", 1),
    ("training.publish", "activate", 1),
    ("training.publish", "forget_old_versions", 1),
    ("shutil", "rmtree", 1),
]
"""Where the process is killed: at the n-th call of a function, each run getting further than the one before."""
ACTIVATED = STEPS.index(("training.publish", "forget_old_versions", 1))
ON_STORES = STEPS.index(("training.publish", "register", 1))

Answer = dict[str, Any]


@pytest.fixture
def stores(request: pytest.FixtureRequest, kind: str) -> Iterator[StoreSettings]:
    with copied_stores(request.getfixturevalue(f"trained_{kind}")) as settings:
        yield settings


async def ask(client: httpx.AsyncClient) -> Answer:
    response = await client.get("/users/u0001/recommendations", params={"k": 100})
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    del answer["next_cursor"]  # it has the time in it
    return answer


async def run_beside_requests(
    arguments: list[str], environment: dict[str, str], client: httpx.AsyncClient
) -> tuple[int, str, list[Answer]]:
    """A command's status, its output, and what was answered meanwhile."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = asyncio.create_task(process.communicate())
    answers = []
    while not output.done():
        answers.append(await ask(client))
        await asyncio.sleep(0.1)
    return process.returncode or 0, output.result()[0].decode(), answers


async def kill_at_each_step(first: int, stores: StoreSettings, environment: dict[str, str], url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        old = await ask(client)
        for n, (module, name, calls) in list(enumerate(STEPS))[first:]:
            killed = killed_at(module, name, calls, "training.publish:_VECTORS_A_TURN", *RETRAIN)
            status, output, answers = await run_beside_requests(killed, environment, client)
            assert status == -signal.SIGKILL, f"{name} was not reached: {output}"
            assert answers
            if n < ACTIVATED:
                assert all(answer == old for answer in answers), name
        status, output, answers = await run_beside_requests(["-m", "training", *RETRAIN], environment, client)
        assert status == 0, output
        new = await ask(client)
        assert f"version {new['version']} serves now" in output
        assert all(answer in (old, new) for answer in answers)
        assert new["version"] != old["version"]
        assert {path.name for path in stores.models_dir.iterdir()} == {old["version"], new["version"]}
        assert [path.name for path in (stores.var_dir / "runs").iterdir()] == ["lock"]
        rolled_back = await client.post("/models:rollback")
        assert rolled_back.status_code == 200, rolled_back.text
        assert await ask(client) == old


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "first"), [("embedded", 0), ("servers", ON_STORES)])
def test_a_retrain_that_is_killed_at_each_step(stores: StoreSettings, first: int, tmp_path: Path) -> None:
    environment = environment_of(stores) | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    with service_process(environment, tmp_path / "service.log") as running:
        asyncio.run(kill_at_each_step(first, stores, environment, running.url))
