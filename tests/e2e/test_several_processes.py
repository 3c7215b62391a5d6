"""A retrain by two processes: what comes of it is what one makes. That a killed one ends both is in tests/scale."""

import asyncio
from pathlib import Path

from contract.artifact import load
from tests.conftest import SMALL, exported_model, fresh_stores, import_into
from tests.torchrun import RETRAIN, of_own_weights, same_but_for_rounding, torchrun, versions


def test_two_processes_train_and_publish_what_one_does(tiny_network: Path, tmp_path: Path) -> None:
    """Also where each would start with weights of its own: they start with the first one's."""
    with fresh_stores("embedded") as stores:
        import_into(stores, tiny_network)
        ended = torchrun(2, RETRAIN, stores, tmp_path, of_own_weights(tmp_path))
        assert ended.status == 0, ended.said
        (version,) = asyncio.run(versions(stores))
        assert f"version {version} serves now" in ended.output[0]
        assert ended.output[1] == ended.said[1] == ""
        same_but_for_rounding(load(stores.models_dir / version), load(exported_model(tiny_network, SMALL)))
