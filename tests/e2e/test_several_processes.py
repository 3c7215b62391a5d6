"""A retrain by two processes: what comes of it is what comes of one, and one that is killed ends both."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import select

from contract.artifact import load
from contract.environment import StoreSettings
from contract.progress import silent
from contract.tables import ModelVersion, create_engine
from tests.conftest import SMALL, exported_model, fresh_stores, import_into
from tests.torchrun import RETRAIN, epochs, killed, same_but_for_rounding, torchrun
from training.retrain import retrain


@pytest.fixture
def stores(tiny_network: Path) -> Iterator[StoreSettings]:
    with fresh_stores("embedded") as settings:
        import_into(settings, tiny_network)
        yield settings


async def versions(stores: StoreSettings) -> list[str]:
    engine = create_engine(stores.sqlalchemy_url)
    try:
        async with engine.connect() as connection:
            return [*(await connection.execute(select(ModelVersion.version))).scalars()]
    finally:
        await engine.dispose()


def test_two_processes_make_and_publish_what_one_does(
    stores: StoreSettings, tiny_network: Path, tmp_path: Path
) -> None:
    ended = torchrun(2, RETRAIN, stores, tmp_path)
    assert ended.status == 0, ended.said
    (version,) = asyncio.run(versions(stores))
    assert f"version {version} serves now" in ended.output[0]
    assert ended.output[1] == ended.said[1] == ""
    same_but_for_rounding(load(stores.models_dir / version), load(exported_model(tiny_network, SMALL)))


def test_a_killed_process_ends_the_other_and_one_process_goes_on(
    stores: StoreSettings, tiny_network: Path, tmp_path: Path
) -> None:
    ended = torchrun(2, RETRAIN, stores, tmp_path / "logs", killed(process=1, epoch=2, folder=tmp_path))
    assert ended.status == 1
    assert ended.output == ["", ""]
    *progress, error = ended.said[0].splitlines()
    assert all(line.startswith(("features", "fit")) for line in progress), ended.said[0]
    assert error.startswith("error: another process of this training was killed or cannot be reached: run the same")
    assert ended.said[1] == ""
    assert asyncio.run(versions(stores)) == []
    (checkpoint,) = (stores.var_dir / "runs").glob("*/checkpoint.pt")
    first_epoch = torch.load(checkpoint, weights_only=True)["curve"]
    made = load(retrain(SMALL, stores, silent, dry_run=True).folder)
    same_but_for_rounding(made, load(exported_model(tiny_network, SMALL)))
    assert [epochs(made)[0].seconds] == [epoch["seconds"] for epoch in first_epoch]
