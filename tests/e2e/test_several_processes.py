"""A retrain by two processes: what comes of it is what one makes, a killed one ends both, and any number goes on."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import select

from contract.artifact import load
from contract.environment import StoreSettings
from contract.progress import T
from contract.tables import ModelVersion, create_engine
from tests.conftest import SMALL, exported_model, fresh_stores, import_into
from tests.interruption import cut_off
from tests.torchrun import LOST, RETRAIN, epochs, killed, same_but_for_rounding, torchrun
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


def of_fit_one(items: Iterable[T], total: int, label: str) -> Iterable[T]:
    """Ends the fit as a person would, after an epoch."""
    return cut_off(1)(items, total, label) if label.startswith("fit") else items


def test_two_processes_begin_one_goes_on_and_two_publish(
    stores: StoreSettings, tiny_network: Path, tmp_path: Path
) -> None:
    """The first epoch is by two, of which one is killed, the second by one; what comes of it is what one makes."""
    ended = torchrun(2, RETRAIN, stores, tmp_path / "killed", killed(process=1, epoch=2, folder=tmp_path))
    assert ended.status == 1
    assert ended.output == ["", ""]
    *progress, error = ended.said[0].splitlines()
    assert all(line.startswith(("features", "fit")) for line in progress), ended.said[0]
    assert error in LOST
    assert ended.said[1] == ""
    assert asyncio.run(versions(stores)) == []

    (checkpoint,) = (stores.var_dir / "runs").glob("*/checkpoint.pt")
    by_two = torch.load(checkpoint, weights_only=True)["curve"]
    with pytest.raises(KeyboardInterrupt):
        retrain(SMALL, stores, of_fit_one)
    ended = torchrun(2, RETRAIN, stores, tmp_path / "published")
    assert ended.status == 0, ended.said
    (version,) = asyncio.run(versions(stores))
    assert f"version {version} serves now" in ended.output[0]
    assert ended.output[1] == ended.said[1] == ""

    made, by_one = (load(folder) for folder in (stores.models_dir / version, exported_model(tiny_network, SMALL)))
    same_but_for_rounding(made, by_one)
    assert [epochs(made)[0].seconds] == [epoch["seconds"] for epoch in by_two]
