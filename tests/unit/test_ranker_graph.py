"""ranker.onnx, run as a service runs it, says what the ranker says that was trained."""

from functools import partial
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch

from contract.artifact import LINK_OUTPUTS
from contract.link import Link, social_parts
from contract.runtime import OnnxModel
from training.export import RankerGraph, export_ranker
from training.model import Ranker
from training.settings import Attention

DIM = 8
Floats = npt.NDArray[np.float32]


def ranking_model(session: onnxruntime.InferenceSession, link: Link) -> OnnxModel:
    """One with only a ranker."""
    model = object.__new__(OnnxModel)
    model.dim, model._link, model._ranker = DIM, link, session
    return model


def products_of(z_CD: Floats, directions_2D: Floats) -> Floats:
    return directions_2D @ z_CD.T


@torch.no_grad()
@pytest.mark.parametrize("attention", get_args(Attention))
@pytest.mark.parametrize("link", get_args(Link))
def test_the_graph_is_the_ranker(link: Link, attention: Attention, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ranker = Ranker(DIM, link, attention, 2.0).eval()
    export_ranker(RankerGraph(ranker), tmp_path / "ranker.onnx", DIM)
    session = onnxruntime.InferenceSession(tmp_path / "ranker.onnx", providers=["CPUExecutionProvider"])
    model = ranking_model(session, link)
    for known, followees, candidates in product((True, False), (0, 1, 7), (0, 1, 33)):
        u_D, u_ND, z_CD = (torch.randn(*shape, DIM).half() for shape in ((), (followees,), (candidates,)))
        mask_1N = torch.ones(1, followees, dtype=torch.bool)
        inputs = (u_D[None].float(), torch.tensor([known]), u_ND[None].float(), mask_1N, z_CD[None].float())
        expected = ranker(*inputs)
        products = partial(products_of, z_CD.float().numpy())
        found = model.rank(u_D.numpy() if known else None, u_ND.numpy(), products)
        outputs = (found.score_C, found.personal_C, found.social_C, found.attention_N)
        feeds = {
            "user_vector": u_D.numpy(),
            "user_known": np.asarray(known),
            "followee_vectors": u_ND.numpy(),
            "facets": products(model.attend(u_D.numpy() if known else None, u_ND.numpy()).directions_2D),
        }
        by_graph = session.run([*LINK_OUTPUTS, "attention"], feeds)
        for value, of_graph, part in zip(outputs, by_graph, expected, strict=True):
            np.testing.assert_allclose(value, part[0].numpy(), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(of_graph, value, rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("attention", get_args(Attention))
@pytest.mark.parametrize("link", get_args(Link))
def test_followees_parts_add_up_to_the_social_facet(link: Link, attention: Attention, tmp_path: Path) -> None:
    torch.manual_seed(0)
    export_ranker(RankerGraph(Ranker(DIM, link, attention, 2.0).eval()), tmp_path / "ranker.onnx", DIM)
    session = onnxruntime.InferenceSession(tmp_path / "ranker.onnx", providers=["CPUExecutionProvider"])
    model = ranking_model(session, link)
    for followees in (0, 1, 7):
        u_D, u_ND, z_CD = (torch.randn(*shape, DIM).half().numpy() for shape in ((), (followees,), (33,)))
        attended = model.attend(u_D, u_ND)
        parts_CN = social_parts(attended.attention_N, u_ND, z_CD)
        assert parts_CN.shape == (33, followees)
        assert parts_CN.dtype == np.float32
        f_C, h_C = products_of(z_CD.astype(np.float32), attended.directions_2D)
        np.testing.assert_allclose(parts_CN.sum(axis=1), h_C, atol=1e-5 * np.abs(h_C).max(initial=0))
        by_parts = model.link(attended, np.stack([f_C, parts_CN.sum(axis=1)]))
        np.testing.assert_allclose(by_parts.social_C, model.link(attended, np.stack([f_C, h_C])).social_C, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("link", ["product", "softplus", "sum"])
def test_a_followee_that_is_not_a_number_is_not_taken_for_none(link: Link, tmp_path: Path) -> None:
    export_ranker(RankerGraph(Ranker(DIM, link, "mean", 2.0).eval()), tmp_path / "ranker.onnx", DIM)
    session = onnxruntime.InferenceSession(tmp_path / "ranker.onnx", providers=["CPUExecutionProvider"])
    followees_ND = np.ones((2, DIM), dtype=np.float16)
    followees_ND[0, 0] = np.nan
    products = partial(products_of, np.ones((3, DIM), dtype=np.float32))
    found = ranking_model(session, link).rank(followees_ND[1], followees_ND, products)
    assert np.isnan(found.score_C).all()
