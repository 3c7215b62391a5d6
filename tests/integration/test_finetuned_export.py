"""A retrain with fine-tuning, from the database to encoder.onnx."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from contract import artifact
from contract.blobs import BlobStore
from contract.environment import StoreSettings
from contract.preprocessing import token_ids
from contract.progress import silent
from contract.runtime import OnnxModel, relative_difference
from tests.conftest import fresh_stores, import_into
from training.backbones import Backbone, load_backbone
from training.features import read_image
from training.model import TweetEncoder
from training.network import Network
from training.retrain import open_run, publish_folder, read_network, train_and_export
from training.settings import Finetune, TrainingSettings
from training.verify import ENCODER_TOLERANCE

TWEETS = 12
TUNED: list[Finetune] = ["fc", "all"]


@dataclass(frozen=True)
class Site:
    stores: StoreSettings
    network: Network


@dataclass(frozen=True)
class Exported:
    """A version, and the weights in torch that it should hold."""

    folder: Path
    artifact: artifact.Artifact
    backbone: Backbone
    encoder: TweetEncoder


@pytest.fixture(scope="module")
def site(tiny_network: Path) -> Iterator[Site]:
    with fresh_stores("embedded") as stores:
        import_into(stores, tiny_network)
        yield Site(stores, asyncio.run(read_network(stores)))


@pytest.fixture(scope="module")
def exported(site: Site) -> dict[Finetune, Exported]:
    return {finetune: retrained(site, finetune) for finetune in TUNED}


def retrained(site: Site, finetune: Finetune) -> Exported:
    settings = TrainingSettings(
        backbone="tiny", dim=16, text_dim=12, word_dim=12, epochs=2, finetune=finetune, backbone_rate=0.01
    )
    run = open_run(site.stores.var_dir / "runs", settings, site.network)
    folder = site.stores.models_dir / run.version
    train_and_export(folder, run, site.network, settings, site.stores, silent)
    best: dict[str, Tensor] = torch.load(run.folder / "checkpoint.pt", weights_only=True)["best_weights"]
    backbone = load_backbone("tiny", None)
    tuned = backbone.get_submodule("fc" if finetune == "fc" else "")
    tuned.load_state_dict(part_of(best, "tuned.part."))
    loaded = artifact.load(folder)
    words = loaded.tokenizer.get_vocab_size()
    encoder = TweetEncoder(backbone.feature_dim, words, settings.word_dim, settings.text_dim, settings.dim)
    encoder.load_state_dict(part_of(best, "model.encoder."))
    return Exported(folder, loaded, backbone, encoder)


def part_of(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


@torch.inference_mode()
def difference(site: Site, version: Exported, backbone: Backbone) -> float:
    """Between encoder.onnx and torch with this backbone, on stored tweets, as a share of the largest number."""
    blobs = BlobStore(site.stores.image_store_url)
    pictures = [read_image(blobs, key, backbone.image_size) for key in site.network.image_keys[:TWEETS]]
    image_BHWC = np.stack(pictures)
    exported = version.artifact
    ids_BSW = token_ids(exported.tokenizer, site.network.texts[:TWEETS], exported.manifest.preprocessing)
    z_BD = version.encoder(backbone(torch.from_numpy(image_BHWC)), torch.from_numpy(ids_BSW)).numpy()
    return relative_difference(OnnxModel(exported, device="cpu").encode(image_BHWC, ids_BSW), z_BD)


@pytest.mark.parametrize("finetune", TUNED)
def test_the_exported_encoder_holds_the_weights_that_were_trained(
    site: Site, exported: dict[Finetune, Exported], finetune: Finetune
) -> None:
    version = exported[finetune]
    assert difference(site, version, version.backbone) <= ENCODER_TOLERANCE
    assert difference(site, version, load_backbone("tiny", None)) > 100 * ENCODER_TOLERANCE


def test_a_version_says_what_was_fine_tuned(exported: dict[Finetune, Exported]) -> None:
    for finetune, version in exported.items():
        assert version.artifact.manifest.settings["finetune"] == finetune


def test_what_fc_layers_read_has_a_cache_of_its_own(site: Site, exported: dict[Finetune, Exported]) -> None:
    assert exported
    caches = [*(site.stores.var_dir / "features").iterdir()]
    shapes = {np.load(next(folder.glob("*.npy"))).shape for folder in caches}
    assert len(caches) == 2
    assert shapes == {(48,), (192,)}


def test_a_fine_tuned_version_is_put_into_service(site: Site, exported: dict[Finetune, Exported]) -> None:
    published = publish_folder(exported["all"].folder, site.stores, silent)
    assert published.new_vectors == len(site.network.tweet_ids)
