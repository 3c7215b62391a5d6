"""Backbone features of every picture, computed once and cached by the picture's content and the backbone's weights.

Shape suffixes: T image tweets, B a batch of pictures, H height, W width, C colours, F features.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from contract.errors import ImageRejected
from contract.preprocessing import decode_image
from training.backbones import Backbone
from training.errors import InputRejected
from training.progress import Progress

_BATCH = 16


class Pictures(Protocol):
    """Where a picture's bytes are found by the key of their content."""

    def get(self, key: str, /) -> bytes:
        """Raises FileNotFoundError where there is none."""


def image_features(
    image_keys: list[str], blobs: Pictures, backbone: Backbone, cache: Path, progress: Progress
) -> torch.Tensor:
    """Features x of the pictures, float32 [T, F]; what is cached already is read, the rest computed and kept.

    Raises InputRejected where a picture is missing from the blob store or cannot be decoded.
    """
    folder = cache / f"{backbone.name}-{backbone.image_size}-{backbone.weights_digest[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    missing = sorted({key for key in image_keys if not (folder / f"{key}.npy").exists()})
    for _ in progress(_compute(missing, blobs, backbone, folder), len(missing), f"features ({backbone.name})"):
        pass
    return torch.from_numpy(np.stack([np.load(folder / f"{key}.npy", allow_pickle=False) for key in image_keys]))


def _compute(keys: list[str], blobs: Pictures, backbone: Backbone, folder: Path) -> Iterator[str]:
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        image_BHWC = np.stack([read_image(blobs, key, backbone.image_size) for key in batch])
        with torch.inference_mode():
            x_BF = backbone(torch.from_numpy(image_BHWC)).numpy()
        for key, x_F in zip(batch, x_BF, strict=True):
            partial = folder / f"{key}.partial"
            with partial.open("wb") as file:
                np.save(file, x_F, allow_pickle=False)
            partial.rename(folder / f"{key}.npy")
            yield key


def read_image(blobs: Pictures, key: str, image_size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A stored picture at the encoder's size, uint8 [H, W, C]. Raises InputRejected where it is missing or damaged."""
    try:
        return decode_image(blobs.get(key), image_size)
    except FileNotFoundError as error:
        raise InputRejected(f"image {key} is in the database but not in the blob store: check BLOB_URL") from error
    except ImageRejected as error:
        raise InputRejected(f"stored image {key}: {error}") from error
