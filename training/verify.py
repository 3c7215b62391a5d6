"""Torch against ONNX Runtime, on golden inputs and at odd sizes, in the runtime that serves."""

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch

from contract import artifact
from contract.runtime import Array, OnnxModel, relative_difference
from training.errors import ParityFailed
from training.export import EncoderGraph, Graphs, RankerGraph
from training.fold_in import FoldIn

ENCODER_TOLERANCE = 1e-4
RANKER_TOLERANCE = 1e-5
FOLD_IN_TOLERANCE = 1e-3
"""Largest accepted difference, as a share of an output's largest absolute value. ONNX Runtime adds up a backbone's
millions of products in another order than torch; what z and u are stored as (fp16), and u is compared as, has steps of
5e-4."""

_BATCHES, _SENTENCES, _WORDS = (1, 3, 5), (1, 4), (1, 6)
_FOLLOWEES, _CANDIDATES, _RETWEETS = (0, 1, 7), (0, 1, 33), (1, 2, 33)


@torch.no_grad()
def verify(folder: Path, graphs: Graphs) -> None:
    """Raises ParityFailed above the tolerances, ArtifactInvalid where the folder does not load."""
    exported = artifact.load(folder)
    model = OnnxModel(exported, device="cpu")
    model.verify_golden(exported)
    _check(folder / "encoder.onnx", _encoder_differences(exported, model, graphs.encoder), ENCODER_TOLERANCE)
    _check(folder / "ranker.onnx", _ranker_differences(exported, model, graphs.ranker), RANKER_TOLERANCE)
    _check(folder / "fold_in.onnx", _fold_in_differences(exported, model, graphs.fold_in), FOLD_IN_TOLERANCE)


def _check(path: Path, differences: list[float], tolerance: float) -> None:
    worst = float(np.max(differences))  # NaN, too
    if not worst <= tolerance:
        raise ParityFailed(
            f"{path} differs from torch by {worst:.1e} of its largest output; {tolerance:.0e} is accepted"
        )


def _encoder_differences(exported: artifact.Artifact, model: OnnxModel, encoder: EncoderGraph) -> list[float]:
    generator = np.random.default_rng(1)
    size, vocabulary = exported.manifest.preprocessing.image_size, exported.tokenizer.get_vocab_size()
    differences = []
    for batch, sentences, words in product(_BATCHES, _SENTENCES, _WORDS):
        image_BHWC = generator.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        token_ids_BSW = generator.integers(0, vocabulary, (batch, sentences, words))
        expected_BD = encoder(torch.from_numpy(image_BHWC), torch.from_numpy(token_ids_BSW)).numpy()
        differences.append(_difference(model.encode(image_BHWC, token_ids_BSW), expected_BD))
    return differences


def _ranker_differences(exported: artifact.Artifact, model: OnnxModel, ranker: RankerGraph) -> list[float]:
    """Scores of few candidates are compared as a share of the largest of many: a single one may be nearly nothing."""
    generator = np.random.default_rng(2)
    users_UD = exported.user_vectors_UD
    z_CD = generator.uniform(-1.7, 1.7, (max(_CANDIDATES), users_UD.shape[1])).astype(np.float16)
    differences = []
    for known, followees in product((True, False), _FOLLOWEES):
        user_D, followees_ND = users_UD[0] if known else None, users_UD[1 : 1 + followees]
        mask_N = np.ones(followees, dtype=bool)
        inputs = (users_UD[0].astype(np.float32), np.array(known), followees_ND.astype(np.float32), mask_N)
        answered = ranker.ranker(*(torch.from_numpy(value[None]) for value in (*inputs, z_CD.astype(np.float32))))
        *facets, attention_N = (part[0].numpy() for part in answered)
        for candidates in _CANDIDATES:
            found = model.rank(user_D, followees_ND, partial(_products, z_CD[:candidates]))
            for value_C, expected_C in zip((found.score_C, found.personal_C, found.social_C), facets, strict=True):
                differences.append(_difference(value_C, expected_C[:candidates], float(np.abs(expected_C).max())))
            differences.append(_difference(found.attention_N, attention_N))
    return differences


def _products(z_CD: Array, directions_2D: Array) -> Array:
    return np.ascontiguousarray(directions_2D @ z_CD.astype(np.float32).T)


def _fold_in_differences(exported: artifact.Artifact, model: OnnxModel, fold_in: FoldIn) -> list[float]:
    generator = np.random.default_rng(3)
    differences = []
    for followees, retweets in product(_FOLLOWEES, _RETWEETS):
        followees_ND = exported.user_vectors_UD[:followees]
        z_PD, z_PSKD = (
            generator.uniform(-1.7, 1.7, (retweets, *shape, exported.manifest.dim)).astype(np.float16)
            for shape in ((), model.drawn)
        )
        expected_D = fold_in(*(torch.from_numpy(vectors) for vectors in (followees_ND, z_PD, z_PSKD))).numpy()
        differences.append(_difference(model.fold_in(followees_ND, z_PD, z_PSKD), expected_D.astype(np.float16)))
    return differences


def _difference(found: Array, expected: Array, scale: float | None = None) -> float:
    return relative_difference(found, expected, scale) if found.shape == expected.shape else float("inf")
