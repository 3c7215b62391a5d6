"""Padding to few shapes, as a GPU gets them, changes no vector."""

from pathlib import Path

import numpy as np
import pytest

from contract.artifact import load
from contract.environment import StoreSettings
from contract.preprocessing import PAD_ID
from contract.runtime import BUCKET_WORDS, OnnxModel, to_bucket


@pytest.mark.parametrize(
    ("shape", "padded"),
    [((1, 1, 1), (1, 1, 16)), ((3, 3, 16), (4, 4, 16)), ((5, 2, 17), (8, 2, 32)), ((16, 8, 32), (16, 8, 32))],
)
def test_shapes_are_few(shape: tuple[int, int, int], padded: tuple[int, int, int]) -> None:
    images = np.ones((shape[0], 4, 4, 3), dtype=np.uint8)
    image_BHWC, ids_BSW = to_bucket(images, np.ones(shape, dtype=np.int64))
    assert ids_BSW.shape == padded
    assert image_BHWC.shape == (padded[0], 4, 4, 3)
    assert ids_BSW.sum() == np.prod(shape)
    assert BUCKET_WORDS == 16
    assert PAD_ID == 0


def test_padded_tweets_have_the_vectors_of_their_own(trained: StoreSettings) -> None:
    folder = next(path for path in Path(trained.models_dir).iterdir() if not path.name.startswith("."))
    exported = load(folder)
    model = OnnxModel(exported, "cpu", threads=1)
    generator = np.random.default_rng(0)
    size = exported.manifest.preprocessing.image_size
    image_BHWC = generator.integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    ids_BSW = generator.integers(1, exported.tokenizer.get_vocab_size(), (5, 3, 9))
    ids_BSW[1, 1:], ids_BSW[2], ids_BSW[3, 0, 4:] = PAD_ID, PAD_ID, PAD_ID
    plain_BD = model.encode(image_BHWC, ids_BSW)
    padded_BD = model.encode(*to_bucket(image_BHWC, ids_BSW))
    assert padded_BD.shape == (8, exported.manifest.dim)
    np.testing.assert_allclose(padded_BD[:5], plain_BD, rtol=1e-4, atol=1e-5)
    model.device = "cuda"  # which pads by itself
    np.testing.assert_array_equal(model.encode(image_BHWC, ids_BSW), padded_BD[:5])
    model.warm_up(exported.manifest.preprocessing, 4)
