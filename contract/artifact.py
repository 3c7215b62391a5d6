"""An exported model: a folder whose manifest says what is in it, and which is used only if all of it verifies.

exported_models/<version>/
    manifest.json      written last, so that a folder that has one is complete
    encoder.onnx       image uint8 [B, H, W, 3], token ids int64 [B, S, W] -> tweet vectors z float32 [B, D]
    ranker.onnx        one user and N followees -> attention, and the directions u and ubar of the two facets, [2, D];
                       C candidates' products with these, [2, C] -> scores, personal and social parts
    fold_in.onnx       N followees' vectors, float16 [N, D], P retweets', [P, D], and S draws of K negatives for each,
                       [P, S, K, D] -> the vector float32 [D] of a user whom the model was not trained on
    tokenizer.json     of the tokenizers library
    user_vectors.npy   float16 [U, D]
    user_ids.json      U ids, in the same order
    golden.npz         inputs and the outputs that the trainer's model gave for them; texts and their token ids
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from tokenizers import Tokenizer

from contract.errors import ArtifactInvalid
from contract.link import Link
from contract.preprocessing import Preprocessing, token_ids

MANIFEST = "manifest.json"
GRAPHS = ("encoder.onnx", "ranker.onnx", "fold_in.onnx")
ENCODER_FILES = (*GRAPHS, "tokenizer.json", "golden.npz")
"""What `load_encoder` reads beside the manifest."""
FILES = (*ENCODER_FILES, "user_vectors.npy", "user_ids.json")

ENCODER_INPUTS = ("image", "token_ids")
ENCODER_OUTPUTS = ("tweet_vector",)
RANKER_INPUTS = ("user_vector", "user_known", "followee_vectors", "facets")
ATTENTION_OUTPUTS, LINK_OUTPUTS = ("directions", "attention"), ("score", "personal", "social")
"""What depends on all inputs but `facets`; and what depends on `facets` and on what is known of the user.

The latter are computed by `contract.link` where candidates are ranked; the graph has them to be compared with."""
RANKER_OUTPUTS = (*ATTENTION_OUTPUTS, *LINK_OUTPUTS)
FOLD_IN_INPUTS = ("followee_vectors", "retweet_vectors", "negative_vectors")
FOLD_IN_OUTPUTS = ("folded_vector",)
GOLDEN_TEXTS, GOLDEN_TEXT_IDS = "texts", "text_ids"
GOLDEN = {
    GOLDEN_TEXTS,
    GOLDEN_TEXT_IDS,
    *(*ENCODER_INPUTS, *ENCODER_OUTPUTS),
    *(*RANKER_INPUTS, *RANKER_OUTPUTS),
    *(*FOLD_IN_INPUTS, *FOLD_IN_OUTPUTS),
}

Sampling = Literal["followees", "matched", "uniform"]
"""Where training draws a retweet's negatives from (`training/sampling.py`)."""

GOLDEN_TOLERANCE = 1e-3
"""Largest difference from a golden output, as a share of the largest absolute value in it: a CPU and a GPU that
computes in TF32 are inside it, a wrong preprocessing or a wrong graph is not."""

_SWAPS = 3
"""How often a folder is put in the place of another while it is read, at most."""
_SWAP_SECONDS = 0.1
"""How long there may be none meanwhile."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Strict):
    """A graph's input or output; a dimension is a number or, where it varies, a name."""

    name: str
    dtype: str
    shape: list[int | str]


class GraphSpec(_Strict):
    """What an ONNX file takes and gives."""

    opset: int
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]


class DataSnapshot(_Strict):
    """What the model was trained on."""

    users: int
    follows: int
    tweets: int
    retweets: int
    first_retweet_at: datetime
    last_retweet_at: datetime
    last_tweet_at: datetime | None = None
    """When the newest tweet was posted. None: exported before this was kept."""
    digest: str


class Epoch(_Strict):
    """What one pass over the training retweets came to."""

    epoch: int
    """From 1 on."""
    loss: float
    """Its mean over the training retweets."""
    auc: float
    """On the validation lists; the model is that of the epoch with the best one."""
    seconds: float


class Manifest(_Strict):
    """Everything that a reader must know to use the other files, and their SHA-256."""

    schema_version: Literal[3] = 3
    version: str
    created_at: datetime
    dim: int
    link: Link
    sampling: Sampling
    backbone: str
    preprocessing: Preprocessing
    vocabulary: int
    encoder: GraphSpec
    ranker: GraphSpec
    fold_in: GraphSpec
    files: dict[str, str]
    data: DataSnapshot
    judged_from: datetime | None = None
    """When the retweets begin that were held out: nothing later was trained on. None: exported before this was kept."""
    settings: dict[str, Any]
    curve: list[Epoch] | None = None
    """The training by epoch. None: exported before this was kept; `curve.jsonl` in the folder may have it."""
    metrics: dict[str, dict[str, float]]
    libraries: dict[str, str]
    git_revision: str | None


@dataclass(frozen=True)
class Artifact:
    """A verified folder, loaded but for its ONNX files."""

    folder: Path
    manifest: Manifest
    tokenizer: Tokenizer
    user_ids: list[str]
    user_vectors_UD: npt.NDArray[np.float16]
    golden: dict[str, npt.NDArray[Any]]

    @cached_property
    def trained_users(self) -> frozenset[str]:
        """Who has a trained vector: those who retweeted in training, and whom they follow."""
        return frozenset(self.user_ids)

    @cached_property
    def row_of_user(self) -> dict[str, int]:
        """Where each has it in `user_vectors_UD`."""
        return {user_id: row for row, user_id in enumerate(self.user_ids)}


def sha256(path: Path) -> str:
    """Of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(folder: Path) -> Artifact:
    """Read an exported model; every file's hash, the shapes and the counts are checked.

    One that another process puts another folder in the place of meanwhile is read again.
    Raises ArtifactInvalid, naming the file.
    """
    return _unless_swapped(folder, _load)


def load_encoder(folder: Path, encoder_sha256: str) -> Artifact:
    """The same without users, whose vectors may be far larger than all else, for who encodes tweets alone.

    Raises ArtifactInvalid, also where its encoder.onnx is not the one with this SHA-256.
    """
    return _unless_swapped(folder, lambda folder: _load_encoder(folder, encoder_sha256))


def _unless_swapped(folder: Path, read: Callable[[Path], Artifact]) -> Artifact:
    """Read again where another folder was put in its place meanwhile."""
    for _ in range(_SWAPS):
        before = _manifest_bytes(folder)
        try:
            return read(folder)
        except Exception:
            if not folder.exists():
                time.sleep(_SWAP_SECONDS)
            if _manifest_bytes(folder) == before:
                raise
    return read(folder)


def _manifest_bytes(folder: Path) -> bytes | None:
    """None: there is none."""
    try:
        return (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None


def _load_encoder(folder: Path, encoder_sha256: str) -> Artifact:
    manifest = read_manifest(folder)
    if manifest.files["encoder.onnx"] != encoder_sha256:
        raise ArtifactInvalid(f"{folder}/encoder.onnx is not the one that was asked for (SHA-256)")
    for name in ENCODER_FILES:
        check_file(folder / name, manifest)
    return _without_users(folder, manifest)


def _load(folder: Path) -> Artifact:
    manifest = read_manifest(folder)
    for name in FILES:
        check_file(folder / name, manifest)
    user_ids = json.loads((folder / "user_ids.json").read_text("utf-8"))
    user_vectors_UD = _arrays(folder / "user_vectors.npy")[""]
    if user_vectors_UD.dtype != np.float16 or user_vectors_UD.shape != (len(user_ids), manifest.dim):
        raise ArtifactInvalid(
            f"{folder}/user_vectors.npy is {user_vectors_UD.dtype} {user_vectors_UD.shape}, "
            f"not float16 ({len(user_ids)}, {manifest.dim})"
        )
    if not np.isfinite(user_vectors_UD).all():
        raise ArtifactInvalid(f"{folder}/user_vectors.npy has values that are not finite: train the model again")
    return replace(_without_users(folder, manifest), user_ids=user_ids, user_vectors_UD=user_vectors_UD)


def _without_users(folder: Path, manifest: Manifest) -> Artifact:
    golden_arrays = _arrays(folder / "golden.npz")
    missing = GOLDEN - golden_arrays.keys()
    if missing:
        raise ArtifactInvalid(f"{folder}/golden.npz has no {', '.join(sorted(missing))}: export the model again")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids_BSW = token_ids(tokenizer, golden_arrays[GOLDEN_TEXTS].tolist(), manifest.preprocessing)
    same_ids = np.array_equal(ids_BSW, golden_arrays[GOLDEN_TEXT_IDS])
    if tokenizer.get_vocab_size() != manifest.vocabulary or not same_ids:
        raise ArtifactInvalid(
            f"{folder}/tokenizer.json is not the one that the model was trained with: export it again"
        )
    return Artifact(
        folder=folder,
        manifest=manifest,
        tokenizer=tokenizer,
        user_ids=[],
        user_vectors_UD=np.empty((0, manifest.dim), dtype=np.float16),
        golden=golden_arrays,
    )


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Of an .npz by name, or the one of an .npy; numbers and text alone, never objects, which could run code."""
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": found}
        with found:
            return {name: found[name] for name in found.files}
    except ValueError as error:
        raise ArtifactInvalid(f"{path} cannot be read ({error}): export the model again") from error


def check_file(path: Path, manifest: Manifest) -> None:
    """Raises ArtifactInvalid where it is not the file that the manifest names."""
    if not path.is_file():
        raise ArtifactInvalid(f"{path} is missing: export the model again")
    if sha256(path) != manifest.files.get(path.name):
        raise ArtifactInvalid(f"{path} is not the file that the manifest names (SHA-256): export the model again")


def read_manifest(folder: Path) -> Manifest:
    """What the manifest says; nothing else of the folder is read. Raises ArtifactInvalid."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ArtifactInvalid(f"{path} is missing: no complete model is there; run `python -m training retrain`") from (
            error
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactInvalid(f"{path}, field {field}: {first['msg']}; run `python -m training retrain`") from error
