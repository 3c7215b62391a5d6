"""Pictures whose red tells the colour of a tweet, and a backbone whose features say nothing of red."""

import io
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from contract.blobs import blob_key
from tests.problems import checkerboard
from training.backbones import Backbone, load_backbone
from training.problem import Content, Problem

_RED_MAPS, _CELLS = 6, 16


class Album:
    """Pictures by the key of their content."""

    def __init__(self, pictures: list[bytes]) -> None:
        self.keys = [blob_key(picture) for picture in pictures]
        self._by_key = dict(zip(self.keys, pictures, strict=True))

    def get(self, key: str) -> bytes:
        if key not in self._by_key:
            raise FileNotFoundError(key)
        return self._by_key[key]

    def place(self, key: str) -> str:
        return f"picture {key}"

    def lose_all(self) -> None:
        self._by_key.clear()


def painted(seed: int, tweets: int = 80) -> tuple[Problem, Album]:
    """The checkerboard of new tweets without words or features, and the pictures that its colours are painted in."""
    problem = checkerboard(seed, tweets=tweets, new=True)
    assert problem.content.x_TF is not None
    colour_T = (problem.content.x_TF[:, :2].sum(dim=1) > 0).numpy()
    generator = np.random.default_rng(seed)
    level_TC = generator.integers(60, 196, (tweets, 3))
    level_TC[:, 0] = np.where(colour_T, 160, 95)
    pixels_THWC = level_TC[:, None, None] + generator.integers(-40, 41, (tweets, 32, 32, 3))
    return problem, Album([png(pixels_HWC) for pixels_HWC in pixels_THWC])


def png(pixels_HWC: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels_HWC.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def colour_blind() -> Backbone:
    """The tiny backbone with six maps of red that its fully connected layer leaves out, and six of green and blue."""
    backbone = load_backbone("tiny", None)
    state = backbone.state_dict()
    state["body.0.weight"][:_RED_MAPS, 1:] = 0
    state["body.0.weight"][_RED_MAPS:, :1] = 0
    state["fc.weight"][:, : _RED_MAPS * _CELLS] = 0
    return backbone


def seeing(problem: Problem, x_TF: torch.Tensor) -> Problem:
    """With these features alone."""
    return replace(problem, content=Content(x_TF, None, 0))
