"""A folder of a model is used only if all of it verifies, with the reason said; the version before serves on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

from contract import artifact
from contract.artifact import FILES, MANIFEST
from contract.environment import StoreSettings
from contract.errors import ArtifactInvalid
from training.models import verify_version

pytestmark = pytest.mark.anyio
EVERY_FILE = [*FILES, MANIFEST]


@pytest.fixture(scope="module")
def exported(trained_embedded: StoreSettings) -> Path:
    """A good version."""
    (folder,) = trained_embedded.models_dir.iterdir()
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(exported, tmp_path / exported.name))


def name_anew(folder: Path, name: str) -> None:
    """As if the file had always been so: the manifest has its hash."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    manifest["files"][name] = artifact.sha256(folder / name)
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def test_a_good_version_verifies(folder: Path) -> None:
    assert verify_version(folder) < 1e-3


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found(folder: Path, name: str) -> None:
    flip_a_byte(folder / name)
    with pytest.raises(ArtifactInvalid, match=f"{name}.*SHA-256"):
        verify_version(folder)


@pytest.mark.parametrize("name", EVERY_FILE)
def test_a_missing_file_is_found(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactInvalid, match=name):
        verify_version(folder)


@pytest.mark.parametrize("name", EVERY_FILE)
def test_half_a_file_is_found(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ArtifactInvalid, match=name):
        verify_version(folder)


def as_float32(folder: Path) -> None:
    np.save(folder / "user_vectors.npy", np.load(folder / "user_vectors.npy").astype(np.float32))


def one_user_less(folder: Path) -> None:
    np.save(folder / "user_vectors.npy", np.load(folder / "user_vectors.npy")[1:])


def not_a_number(folder: Path) -> None:
    vectors_UD = np.load(folder / "user_vectors.npy")
    vectors_UD[0, 0] = np.nan
    np.save(folder / "user_vectors.npy", vectors_UD)


@pytest.mark.parametrize("spoil", [as_float32, one_user_less, not_a_number])
def test_vectors_that_do_not_fit_are_refused(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    name_anew(folder, "user_vectors.npy")
    with pytest.raises(ArtifactInvalid, match=r"user_vectors.npy"):
        verify_version(folder)


def test_another_model_s_weights_are_refused(folder: Path) -> None:
    path = folder / "encoder.onnx"
    graph = onnx.load(path)
    for weights in graph.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT and len(weights.dims) > 1:
            weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * 1.1, weights.name))
    onnx.save(graph, path)
    name_anew(folder, "encoder.onnx")
    with pytest.raises(ArtifactInvalid, match="golden"):
        verify_version(folder)


def test_another_tokenizer_is_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens(["never-trained"])
    tokenizer.save(str(path))
    name_anew(folder, "tokenizer.json")
    with pytest.raises(ArtifactInvalid, match=r"tokenizer.json"):
        verify_version(folder)


def test_another_order_of_words_is_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text("utf-8"))
    words = told["model"]["vocab"]
    swapped = sorted(words, key=lambda word: words[word])
    told["model"]["vocab"] = dict(zip([*swapped[:2], *reversed(swapped[2:])], range(len(swapped)), strict=True))
    path.write_text(json.dumps(told), "utf-8")
    name_anew(folder, "tokenizer.json")
    with pytest.raises(ArtifactInvalid, match=r"tokenizer.json"):
        verify_version(folder)
