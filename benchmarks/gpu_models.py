"""Tweet encoders to measure: random weights, since what they have learnt does not change how fast they are.

Shape suffixes: B tweets, S sentences, W words, H height, W width, C colours.
"""

import copy
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from contract.runtime import to_bucket
from training.backbones import Backbone, load_backbone
from training.export import EncoderGraph, export_encoder
from training.model import TweetEncoder
from training.settings import BackboneName

Precision = Literal["fp32", "fp16"]

DIM = 400
VOCABULARY = 5_000
SENTENCES, WORDS = 2, 16
_TEXT_DIM = 64


@cache
def encoder_graph(name: BackboneName) -> EncoderGraph:
    """What encoder.onnx computes, in float32 on the CPU. It is the same one each time: copy it to change it."""
    torch.manual_seed(0)
    backbone = load_vgg16() if name == "vgg16" else load_backbone(name, None)
    return EncoderGraph(backbone, TweetEncoder(backbone.feature_dim, VOCABULARY, _TEXT_DIM, _TEXT_DIM, DIM)).eval()


def load_vgg16() -> Backbone:
    """With random weights: 500 MB of ImageNet's cannot be had everywhere."""
    from torchvision.models import vgg16

    with tempfile.TemporaryDirectory() as folder:
        torch.save(vgg16().state_dict(), Path(folder) / "random.pt")
        return load_backbone("vgg16", Path(folder) / "random.pt")


class Cast(nn.Module):
    """To another precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """The same values."""
        return x.to(self.dtype)


def in_precision(graph: EncoderGraph, precision: Precision) -> EncoderGraph:
    """A copy whose backbone computes in fp16 after normalisation; words and z stay float32."""
    own = copy.deepcopy(graph)
    if precision == "fp16":
        backbone = own.backbone
        backbone.body = nn.Sequential(Cast(torch.float16), backbone.body.half())
        backbone.fc = nn.Sequential(*([] if backbone.fc is None else [backbone.fc.half()]), Cast(torch.float32))
    return own


def channels_last(graph: EncoderGraph) -> EncoderGraph:
    """The same, its pictures' channels last in memory: so fp16 convolutions are fastest."""
    graph.backbone.to(memory_format=torch.channels_last)
    return graph


class ConvReLU(nn.Module):
    """Convolution, bias and ReLU: one kernel of cuDNN, where eager torch runs three that each pass over memory."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        if isinstance(conv.padding, str):
            raise TypeError(f"padding {conv.padding!r} is not told in pixels")
        self.conv, self.padding = conv, conv.padding

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """As relu(conv(x)); by these on a CPU, which has no cuDNN."""
        if not x_BCHW.is_cuda:
            return torch.relu(self.conv(x_BCHW))
        conv = self.conv
        y_BCHW: Tensor = torch.cudnn_convolution_relu(
            x_BCHW, conv.weight, conv.bias, conv.stride, self.padding, conv.dilation, conv.groups
        )
        return y_BCHW


def fuse(module: nn.Module) -> int:
    """Put a ConvReLU in the place of each convolution that a ReLU follows; how many there were."""
    fused = sum(fuse(child) for child in module.children())
    if isinstance(module, nn.Sequential):
        for n, (layer, following) in enumerate(pairwise(list(module))):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.ReLU):
                module[n], module[n + 1] = ConvReLU(layer), nn.Identity()
                fused += 1
    return fused


def made_inputs(batch: int, image_size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pictures uint8 [B, H, W, C] and token ids int64 [B, S, W]; the first are the same at any batch size."""
    generator = np.random.default_rng(0)
    image_BHWC = generator.integers(0, 256, (batch, image_size, image_size, 3), dtype=np.uint8)
    return image_BHWC, np.random.default_rng(1).integers(1, VOCABULARY, (batch, SENTENCES, WORDS))


def export_alone(name: BackboneName, precision: Precision, path: Path) -> Path:
    """Write encoder.onnx in a process of its own.

    Of two encoders that a process exports one after the other, torch 2.14 fixes the second one's number of words.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(_export, name, precision, path).result()


def _export(name: BackboneName, precision: Precision, path: Path) -> Path:
    graph = in_precision(encoder_graph(name), precision)
    export_encoder(graph, path, graph.backbone.image_size)
    return path


def flops_each(graph: EncoderGraph) -> float:
    """Floating-point operations a tweet, two for a multiplication and an addition, as torch counts them."""
    inputs = (torch.from_numpy(values) for values in made_inputs(1, graph.backbone.image_size))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        graph(*inputs)
    return float(counter.get_total_flops())


class TorchEncoder:
    """What the micro-batcher asks of a model, by torch: OnnxModel.encode, in its batch sizes."""

    def __init__(self, graph: EncoderGraph, device: torch.device) -> None:
        self._graph, self._device = channels_last(graph.to(device)), device

    @torch.inference_mode()
    def encode(
        self, image_BHWC: npt.NDArray[np.uint8], token_ids_BSW: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Tweet vectors z, float32 [B, D]."""
        inputs = (torch.from_numpy(values).to(self._device) for values in to_bucket(image_BHWC, token_ids_BSW))
        z_BD: npt.NDArray[np.float32] = self._graph(*inputs)[: len(image_BHWC)].cpu().numpy()
        return z_BD
