"""Backbone features of every picture, computed once and cached by the picture's content, preprocessing and weights.

Shape suffixes: T image tweets, B a batch of pictures, H height, W width, C colours, F features.
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from contract.artifact import GOLDEN_TOLERANCE
from contract.errors import ImageRejected
from contract.preprocessing import decode_image
from contract.progress import Progress
from contract.runtime import relative_difference
from training.backbones import Backbone
from training.errors import InputRejected

LEAST_DEVIATION = 0.3
"""Of the median one: what a feature is taken to deviate by at least."""
_BATCH = 16
_CHECKED = 16


class Pictures(Protocol):
    """Where a picture's bytes are found by the key of their content."""

    def get(self, key: str, /) -> bytes:
        """Raises FileNotFoundError where there is none."""

    def place(self, key: str, /) -> str:
        """Where that is, in words."""


def image_features(
    image_keys: list[str], blobs: Pictures, backbone: Backbone, cache: Path, progress: Progress
) -> torch.Tensor:
    """Features x of the pictures, float32 [T, F]; what is cached already is read, the rest computed and kept.

    Of what is cached a few are computed once more and compared. Raises InputRejected where these differ, or where a
    picture is missing from the blob store or cannot be decoded.
    """
    folder = cache / cache_key(backbone)
    folder.mkdir(parents=True, exist_ok=True)
    keys = sorted(set(image_keys))
    missing = [key for key in keys if not (folder / f"{key}.npy").exists()]
    check_cached(sorted(set(keys).difference(missing)), blobs, backbone, folder)
    for _ in progress(_compute(missing, blobs, backbone, folder), len(missing), f"features ({backbone.name})"):
        pass
    return torch.from_numpy(np.stack([_cached(folder, key) for key in image_keys]))


def check_cached(keys: list[str], blobs: Pictures, backbone: Backbone, folder: Path) -> None:
    """Compare the features of at most _CHECKED pictures with what the backbone says of them.

    That notices another cache or another blob store, not one wrong file of many. Raises InputRejected.
    """
    some = keys[:: len(keys) // _CHECKED + 1]
    if not some:
        return
    for key, x_F in zip(some, _features(some, blobs, backbone), strict=True):
        if not relative_difference(_cached(folder, key), x_F) <= GOLDEN_TOLERANCE:
            raise InputRejected(f"{folder / key}.npy has not the features of {blobs.place(key)}: remove {folder}")


def cache_key(backbone: Backbone) -> str:
    """A name for all that features depend on beside the picture: the backbone, its weights as they are, and pixels."""
    digest = backbone.weights_digest() + pixels_digest(backbone.image_size)
    short = hashlib.sha256(digest.encode()).hexdigest()[:16]
    return f"{backbone.name}-{backbone.image_size}-{backbone.feature_dim}-{short}"


def pixels_digest(image_size: int) -> str:
    """Of what decoding makes of pictures of its own, small ones and one that is scaled as it is decoded.

    Another way of scaling, or another Pillow that gives other pixels, is another one.
    """
    digest = hashlib.sha256()
    for mode, kind, side in (("RGBA", "PNG", 48), ("RGB", "JPEG", 48), ("RGB", "JPEG", 4 * image_size + 1)):
        noise_HWC = np.random.default_rng(0).integers(0, 256, (side, side + 17, len(mode)), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise_HWC, mode).save(file, kind)
        digest.update(decode_image(file.getvalue(), image_size).tobytes())
    return digest.hexdigest()


def _compute(keys: list[str], blobs: Pictures, backbone: Backbone, folder: Path) -> Iterator[str]:
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        for key, x_F in zip(batch, _features(batch, blobs, backbone), strict=True):
            partial = folder / f"{key}.partial"
            with partial.open("wb") as file:
                np.save(file, x_F, allow_pickle=False)
            partial.rename(folder / f"{key}.npy")
            yield key


def _features(keys: list[str], blobs: Pictures, backbone: Backbone) -> npt.NDArray[np.float32]:
    image_BHWC = np.stack([read_image(blobs, key, backbone.image_size) for key in keys])
    with torch.inference_mode():
        x_BF: npt.NDArray[np.float32] = backbone(torch.from_numpy(image_BHWC)).numpy()
    return x_BF


def _cached(folder: Path, key: str) -> npt.NDArray[np.float32]:
    x_F: npt.NDArray[np.float32] = np.load(folder / f"{key}.npy", allow_pickle=False)
    return x_F


def moments(x_TF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Every feature's mean and standard deviation over some pictures, float32 [F] each.

    One that hardly varies over these pictures may on others: it is taken to vary by LEAST_DEVIATION of the median, and,
    where pictures are so alike that most features do not vary at all, by a hundredth of the features' mean size: what a
    backbone's rounding makes of them is not to be blown up.
    """
    std_F, mean_F = torch.std_mean(x_TF, dim=0)
    least = max(LEAST_DEVIATION * float(std_F.median()), 0.01 * float(x_TF.abs().mean()), 1e-6)
    return mean_F, std_F.clamp(min=least)


def read_image(blobs: Pictures, key: str, image_size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A stored picture at the encoder's size, uint8 [H, W, C]. Raises InputRejected where it is missing or damaged."""
    try:
        return decode_image(blobs.get(key), image_size)
    except FileNotFoundError as error:
        raise InputRejected(f"{blobs.place(key)} is missing: put it there, or check BLOB_URL") from error
    except ImageRejected as error:
        raise InputRejected(f"{blobs.place(key)}: {error}") from error
