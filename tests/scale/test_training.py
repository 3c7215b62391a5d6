"""Retrains by more processes than CI has time for, users' vectors sharded by TorchRec, and others' checkpoints."""

import asyncio
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from contract.artifact import Artifact, load
from contract.environment import StoreSettings
from contract.progress import T, silent
from tests.conftest import SMALL, exported_model, fresh_stores, import_into
from tests.interruption import cut_off
from tests.torchrun import LOST, RETRAIN, epochs, killed, same_but_for_rounding, torchrun, versions
from training.retrain import retrain
from training.settings import Finetune

DRY = [*RETRAIN, "--dry-run"]


@contextmanager
def stores_of(network: Path, runs: Path | None = None) -> Iterator[StoreSettings]:
    """Stores with a network, and with another one's unfinished run."""
    with fresh_stores("embedded") as stores:
        import_into(stores, network)
        if runs is not None:
            shutil.copytree(runs, stores.var_dir / "runs")
        yield stores


@pytest.fixture(scope="module")
def by_one(tiny_network: Path) -> Artifact:
    return load(exported_model(tiny_network, SMALL))


def made_by(stores: StoreSettings) -> Artifact:
    (folder,) = stores.models_dir.iterdir()
    return load(folder)


@pytest.mark.parametrize(("processes", "more"), [(2, []), (4, []), (1, ["--shard-users"]), (2, ["--shard-users"])])
def test_a_version_does_not_depend_on_who_made_it(
    tiny_network: Path, tmp_path: Path, by_one: Artifact, processes: int, more: list[str]
) -> None:
    with stores_of(tiny_network) as stores:
        ended = torchrun(processes, [*DRY, *more], stores, tmp_path)
        assert ended.status == 0, ended.said
        assert not any(ended.said[1:]), ended.said
        same_but_for_rounding(made_by(stores), by_one)


@pytest.fixture(scope="module")
def of_two_sharded(tiny_network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unfinished run of two processes with sharded vectors, one of which was killed after the first epoch."""
    folder = tmp_path_factory.mktemp("sharded")
    with stores_of(tiny_network) as stores:
        ended = torchrun(2, [*DRY, "--shard-users"], stores, folder / "logs", killed(0, 2, folder))
        assert ended.status == 1
        assert ended.said[1].splitlines()[-1] in LOST
        shutil.copytree(stores.var_dir / "runs", folder / "runs")
    (run,) = (path for path in (folder / "runs").iterdir() if path.is_dir())
    assert {path.name for path in run.iterdir()} == {"version", "checkpoint.pt", "checkpoint.1"}
    return folder / "runs"


def test_one_process_goes_on_with_whole_vectors(tiny_network: Path, of_two_sharded: Path, by_one: Artifact) -> None:
    with stores_of(tiny_network, of_two_sharded) as stores:
        made = load(retrain(SMALL, stores, silent, dry_run=True).folder)
        same_but_for_rounding(made, by_one)
        (checkpoint,) = (stores.var_dir / "runs").glob("*/checkpoint.*")
        assert checkpoint.name == "checkpoint.pt"


@pytest.mark.parametrize("more", [[], ["--shard-users"]])
def test_four_processes_go_on(
    tiny_network: Path, of_two_sharded: Path, by_one: Artifact, tmp_path: Path, more: list[str]
) -> None:
    with stores_of(tiny_network, of_two_sharded) as stores:
        ended = torchrun(4, [*DRY, *more], stores, tmp_path)
        assert ended.status == 0, ended.said
        assert "fit (sum, softmax): 1 of 1 after" in ended.said[0]
        same_but_for_rounding(made_by(stores), by_one)


def stopped_after_an_epoch(items: Iterable[T], total: int, label: str) -> Iterable[T]:
    return cut_off(1)(items, total, label) if label.startswith("fit") else items


def test_two_go_on_sharded_with_what_one_began(tiny_network: Path, by_one: Artifact, tmp_path: Path) -> None:
    with stores_of(tiny_network) as stores:
        with pytest.raises(KeyboardInterrupt):
            retrain(SMALL, stores, stopped_after_an_epoch, dry_run=True)
        ended = torchrun(2, [*DRY, "--shard-users"], stores, tmp_path)
        assert ended.status == 0, ended.said
        assert "fit (sum, softmax): 1 of 1 after" in ended.said[0]
        same_but_for_rounding(made_by(stores), by_one)


def test_two_processes_begin_one_goes_on_and_two_publish(tiny_network: Path, tmp_path: Path, by_one: Artifact) -> None:
    """The first epoch is by two, of which one is killed, the second by one; what comes of it is what one makes."""
    with stores_of(tiny_network) as stores:
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
            retrain(SMALL, stores, stopped_after_an_epoch)
        ended = torchrun(2, RETRAIN, stores, tmp_path / "published")
        assert ended.status == 0, ended.said
        (version,) = asyncio.run(versions(stores))
        assert f"version {version} serves now" in ended.output[0]
        assert ended.output[1] == ended.said[1] == ""

        made = load(stores.models_dir / version)
        same_but_for_rounding(made, by_one)
        assert [epochs(made)[0].seconds] == [epoch["seconds"] for epoch in by_two]


@pytest.mark.parametrize("finetune", ["fc", "all"])
def test_two_processes_fine_tune(tiny_network: Path, tmp_path: Path, finetune: Finetune) -> None:
    settings = SMALL.model_copy(update={"finetune": finetune, "backbone_rate": 0.01})
    by_one = load(exported_model(tiny_network, settings))
    with stores_of(tiny_network) as stores:
        ended = torchrun(2, [*DRY, "--finetune", finetune, "--backbone-rate", ".01"], stores, tmp_path)
        assert ended.status == 0, ended.said
        same_but_for_rounding(made_by(stores), by_one)
