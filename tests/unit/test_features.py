"""The cache of features: nothing stale is found in it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import nn

from contract.preprocessing import decode_image
from contract.progress import silent
from tests.painted import Album, png
from training.backbones import Backbone, load_backbone
from training.errors import InputRejected
from training.features import cache_key, image_features

T = TypeVar("T")


def with_one_weight_changed(backbone: Backbone) -> Backbone:
    with torch.no_grad():
        next(backbone.parameters()).view(-1)[0].add_(1e-3)
    return backbone


def test_the_cache_key_tells_weights_and_preprocessing_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = load_backbone("tiny", None)
    larger = Backbone("tiny", tiny.body, tiny.fc, 48, (0.5,) * 3, (0.5,) * 3)
    brighter = Backbone("tiny", tiny.body, tiny.fc, 32, (0.4,) * 3, (0.5,) * 3)
    keys = [cache_key(one) for one in (tiny, larger, brighter, tiny.without_fc())]
    keys.append(cache_key(with_one_weight_changed(load_backbone("tiny", None))))
    monkeypatch.setattr("training.features.decode_image", lambda data, size: decode_image(data, size)[::-1])
    keys.append(cache_key(tiny))
    assert len(set(keys)) == len(keys)
    monkeypatch.undo()
    assert cache_key(load_backbone("tiny", None)) == keys[0]


def test_another_weights_file_is_another_key(tmp_path: Path) -> None:
    usual = load_backbone("efficientnet_lite0", None)
    network: nn.Module = usual.body.get_submodule("network")
    same, other = tmp_path / "same.pth", tmp_path / "other.pth"
    torch.save(network.state_dict(), same)
    state = dict(network.state_dict())
    state["_bn1.running_mean"] = state["_bn1.running_mean"] + 1e-3
    torch.save(state, other)
    assert cache_key(load_backbone("efficientnet_lite0", same)) == cache_key(usual)
    assert cache_key(load_backbone("efficientnet_lite0", other)) != cache_key(usual)


def test_a_feature_is_found_by_the_content_of_its_picture(tmp_path: Path) -> None:
    backbone = load_backbone("tiny", None)
    dark, light = (png(np.full((32, 32, 3), level)) for level in (40, 200))
    once = Album([dark, light])
    x_TF = image_features(once.keys, once, backbone, tmp_path, silent)
    assert not torch.equal(x_TF[0], x_TF[1])
    computed: list[tuple[int, str]] = []

    def counted(work: Iterable[T], total: int, what: str) -> Iterable[T]:
        computed.append((total, what))
        return work

    assert torch.equal(image_features(once.keys[::-1], once, backbone, tmp_path, counted), x_TF.flip(0))
    assert computed == [(0, "features (tiny)")]
    for keys in (once.keys, Album([png(np.full((32, 32, 3), 41))]).keys):
        with pytest.raises(InputRejected, match=r"picture \w+ is missing"):
            image_features(keys, Album([]), backbone, tmp_path, silent)


def test_a_cache_of_something_else_is_noticed(tmp_path: Path) -> None:
    backbone = load_backbone("tiny", None)
    album = Album([png(np.full((32, 32, 3), level)) for level in range(40)])
    image_features(album.keys, album, backbone, tmp_path, silent)
    for file in tmp_path.rglob("*.npy"):
        np.save(file, np.load(file) + 1e-2)
    with pytest.raises(InputRejected, match=r"has not the features of picture \w+: remove "):
        image_features(album.keys, album, backbone, tmp_path, silent)
