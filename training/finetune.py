"""Fine-tuning: the part of a backbone that is trained with the model (section 3.1: "both backbones can be fine-tuned").

none  nothing: features are computed once and cached
fc    the fully connected layers: what they read is computed once and cached
all   every layer: pictures are read anew for every batch

Shape suffixes: T image tweets, M distinct tweets of a batch, F features, H height, W width, C colours.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from contract.progress import Progress
from training.backbones import Backbone
from training.errors import InputRejected
from training.features import Pictures, image_features, read_image
from training.settings import Finetune

_PICTURES_AT_ONCE = 16
_FEATURES_AT_ONCE = 4_096


class Tuned(nn.Module):
    """A part of a backbone with gradients, and what it reads of some tweets: `inputs` takes their numbers, int64 [M].

    It stays in evaluation mode: statistics of batch normalisation are the pretrained ones and nothing is dropped, so
    that what is trained is what is exported. Of more than `at_once` tweets the activations are not kept but computed
    anew on the way back, so that a batch of any size fits into memory.
    """

    def __init__(self, part: nn.Module, inputs: Callable[[Tensor], Tensor], at_once: int) -> None:
        super().__init__()
        self.part = part.requires_grad_(True)
        self.inputs, self.at_once = inputs, at_once
        self.train(False)

    def forward(self, tweet_M: Tensor) -> Tensor:
        """x by the weights as they are now, float32 [M, F]. Raises InputRejected where a picture cannot be read."""
        device = next(self.part.parameters()).device
        parts = torch.split(tweet_M, self.at_once)
        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([self.part(self.inputs(some).to(device)) for some in parts])
        return torch.cat([self._forgetful(self.inputs(some).to(device)) for some in parts])

    def _forgetful(self, inputs: Tensor) -> Tensor:
        x_MF: Tensor = checkpoint(self.part, inputs, use_reentrant=False, preserve_rng_state=False)
        return x_MF

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Stays in evaluation mode."""
        return super().train(False)


def visual_part(
    finetune: Finetune, backbone: Backbone, image_keys: list[str], blobs: Pictures, cache: Path, progress: Progress
) -> tuple[Tensor, Tuned | None]:
    """Features x of the pictures by the backbone as it is, float32 [T, F], and the part of it that is to be trained.

    The part is trained in place, so that the backbone is fine-tuned when it is. EfficientNet-lite0 has no fully
    connected layers below its features: they are the means of the last convolution's maps.

    Raises InputRejected where a picture is missing or cannot be decoded, or the backbone has no such layers.
    """
    match finetune:
        case "none":
            return image_features(image_keys, blobs, backbone, cache, progress), None
        case "all":
            x_TF = image_features(image_keys, blobs, backbone, cache, progress)
            return x_TF, Tuned(backbone, _pixels(image_keys, blobs, backbone.image_size), _PICTURES_AT_ONCE)
        case "fc":
            if backbone.fc is None:
                raise InputRejected(
                    f"--finetune fc: {backbone.name} has no fully connected layers: "
                    "use --finetune all, or --backbone vgg16"
                )
            read_TF = image_features(image_keys, blobs, backbone.without_fc(), cache, progress)
            tuned = Tuned(backbone.fc, read_TF.__getitem__, _FEATURES_AT_ONCE)
            with torch.no_grad():
                return tuned(torch.arange(len(image_keys))), tuned


def _pixels(image_keys: list[str], blobs: Pictures, image_size: int) -> Callable[[Tensor], Tensor]:
    """The pictures of some tweets, uint8 [M, H, W, C]."""

    def read(tweet_M: Tensor) -> Tensor:
        pictures = [read_image(blobs, image_keys[tweet], image_size) for tweet in tweet_M.tolist()]
        return torch.from_numpy(np.stack(pictures))

    return read
