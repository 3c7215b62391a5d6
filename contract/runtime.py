"""An exported model's graphs in ONNX Runtime: the service serves with it, the trainer verifies and re-encodes by it.

Shape suffixes: B tweets, S sentences or draws, W words, D dimensions, N followees, C candidates, P retweets,
K negatives of a draw.
"""

import ctypes
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from contract.artifact import (
    ATTENTION_OUTPUTS,
    ENCODER_INPUTS,
    ENCODER_OUTPUTS,
    FOLD_IN_INPUTS,
    FOLD_IN_OUTPUTS,
    GOLDEN_TOLERANCE,
    LINK_OUTPUTS,
    RANKER_INPUTS,
    RANKER_OUTPUTS,
    Artifact,
    check_file,
    load,
)
from contract.errors import ArtifactInvalid, DeviceUnavailable
from contract.link import NUMPY, combine, social_parts
from contract.preprocessing import PAD_ID, Preprocessing, token_ids

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
Array = npt.NDArray[Any]

Products = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]

BUCKET_WORDS = 16
_NO_FACETS = np.empty((2, 0), dtype=np.float32)
_ERRORS_ONLY = 3


@dataclass(frozen=True, slots=True)
class Attended:
    """What candidates are ranked by for one user, which no candidate changes: u and ubar, float32 [2, D]."""

    directions_2D: npt.NDArray[np.float32]
    attention_N: npt.NDArray[np.float32]
    knows_user: bool
    """Whether the user has a vector."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scores of C candidates and what they are made of, float32."""

    score_C: npt.NDArray[np.float32]
    personal_C: npt.NDArray[np.float32]
    social_C: npt.NDArray[np.float32]
    attention_N: npt.NDArray[np.float32]


class OnnxModel:
    """The sessions of one exported model. Calls block; `encode` may be called from one thread while `rank` runs."""

    def __init__(self, artifact: Artifact, device: Device = "auto", threads: int = 0) -> None:
        """Load the graphs; all but the encoder on the CPU, since their work is too small to be sent to a GPU.

        `threads` is the encoder's; 0 takes all cores.
        Raises DeviceUnavailable where `cuda` was asked for and does not load; ArtifactInvalid where a graph does not.
        """
        self._artifact, self._threads = artifact, threads
        self.dim, self._link = artifact.manifest.dim, artifact.manifest.link
        self.device, reason = choose_device(device)
        providers = ["CUDAExecutionProvider"] if self.device == "cuda" else []
        self._encoder = _session(artifact, "encoder.onnx", [*providers, "CPUExecutionProvider"], threads)
        self._ranker = _session(artifact, "ranker.onnx", ["CPUExecutionProvider"], 1)
        self._fold_in = _session(artifact, "fold_in.onnx", ["CPUExecutionProvider"], 1)
        draws, negatives = self._fold_in.get_inputs()[2].shape[1:3]
        self.drawn: tuple[int, int] = (draws, negatives)
        """Of `fold_in`: draws of negatives for a retweet (S), negatives of a draw (K)."""
        if self.device == "cuda" and "CUDAExecutionProvider" not in self._encoder.get_providers():
            reason = "a GPU is there, but ONNX Runtime could not load CUDA (install .[service-gpu])"
            if device == "cuda":
                raise DeviceUnavailable(f"{reason}, or set DEVICE=cpu")
            self.device = "cpu"
        log.info("the encoder runs on %s: %s", "the GPU (CUDA)" if self.device == "cuda" else "the CPU", reason)

    def encode(
        self, image_BHWC: npt.NDArray[np.uint8], token_ids_BSW: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Tweet vectors z, float32 [B, D].

        A GPU gets one of few shapes, since it takes seconds to get used to a new one; a CPU gets what there is. What a
        GPU fails at and the CPU does not is done by the CPU from then on: the GPU is lost.
        """
        inputs = (image_BHWC, token_ids_BSW)
        if self.device == "cpu":
            return _encoded(self._encoder, *inputs)
        try:
            return _encoded(self._encoder, *to_bucket(*inputs))[: len(image_BHWC)]
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            on_cpu = _session(self._artifact, "encoder.onnx", ["CPUExecutionProvider"], self._threads)
            vector_BD = _encoded(on_cpu, *inputs)
            log.error("the GPU failed, so that the CPU encodes from now on: start the service anew (%s)", error)
            self._encoder, self.device = on_cpu, "cpu"
            return vector_BD

    def warm_up(self, preprocessing: Preprocessing, max_batch: int) -> None:
        """Encode a batch of each size up to `max_batch` that `encode` will meet: the first of a shape takes longest."""
        size = preprocessing.image_size
        sizes = [1 << n for n in range(max_batch.bit_length())] if self.device == "cuda" else [1, max_batch]
        for batch in sizes:
            image_BHWC = np.zeros((batch, size, size, 3), dtype=np.uint8)
            self.encode(image_BHWC, np.full((batch, 1, BUCKET_WORDS), PAD_ID + 1, dtype=np.int64))

    def rank(
        self, user_D: npt.NDArray[np.float16] | None, followees_ND: npt.NDArray[np.float16], products: Products
    ) -> Ranking:
        """Score candidates for a user (None: a user whom the model does not know); N and C may be 0.

        `products` multiplies the candidates' vectors by directions, float32 [2, D], and gives float32 [2, C]: who holds
        the vectors knows best how.
        """
        attended = self.attend(user_D, followees_ND)
        return self.link(attended, products(attended.directions_2D))

    def attend(self, user_D: npt.NDArray[np.float16] | None, followees_ND: npt.NDArray[np.float16]) -> Attended:
        """Attention over the followees, and what candidates' vectors are to be multiplied by."""
        user = np.zeros(self.dim, dtype=np.float16) if user_D is None else user_D
        inputs = (user, np.asarray(user_D is not None), followees_ND, _NO_FACETS)
        directions_2D, attention_N = self._ranker.run(ATTENTION_OUTPUTS, dict(zip(RANKER_INPUTS, inputs, strict=True)))
        return Attended(directions_2D, attention_N, user_D is not None)

    def link(self, attended: Attended, facets_2C: npt.NDArray[np.float32]) -> Ranking:
        """Scores of candidates, of whose vectors and the directions these are the products, float32 [2, C].

        Not by the graph, whose run takes as long as the products: `verify_golden` sees that it says the same.
        """
        f_C, h_C = facets_2C
        has_social = len(attended.attention_N) > 0
        with np.errstate(all="ignore"):  # what is not finite is the caller's to see
            parts = combine(self._link, f_C, h_C, attended.knows_user, has_social, NUMPY)
        return Ranking(*parts, attended.attention_N)

    def fold_in(
        self,
        followees_ND: npt.NDArray[np.float16],
        positive_PD: npt.NDArray[np.float16],
        negative_PSKD: npt.NDArray[np.float16],
    ) -> npt.NDArray[np.float16]:
        """u, fp16 [D], of a user whom the model was not trained on, from P retweets and their negatives; N may be 0.

        Raises ValueError without a retweet, RuntimeError where u is not finite in fp16.
        """
        if not len(positive_PD):
            raise ValueError("fold_in needs a retweet: a user without one has no vector")
        feeds = dict(zip(FOLD_IN_INPUTS, (followees_ND, positive_PD, negative_PSKD), strict=True))
        (u_D,) = self._fold_in.run(FOLD_IN_OUTPUTS, feeds)
        stored_D = np.asarray(u_D, dtype=np.float16)
        if not np.isfinite(stored_D).all():
            raise RuntimeError("fold_in.onnx gave a vector that is not finite")
        return stored_D

    def verify_golden(self, artifact: Artifact) -> float:
        """Largest difference from the golden outputs, as a share of each output's largest absolute value.

        What is not computed by the graphs is compared, too: the link, and followees' parts, which make ubar together.
        Raises ArtifactInvalid where it is above GOLDEN_TOLERANCE.
        """
        golden = artifact.golden
        graphs = (
            (self._encoder, ENCODER_INPUTS, ENCODER_OUTPUTS),
            (self._ranker, RANKER_INPUTS, RANKER_OUTPUTS),
            (self._fold_in, FOLD_IN_INPUTS, FOLD_IN_OUTPUTS),
        )
        found: dict[str, Array] = {}
        for session, inputs, outputs in graphs:
            try:
                values = session.run(outputs, {name: golden[name] for name in inputs})
            except Exception as error:  # ONNX Runtime's own exceptions share no base class
                raise ArtifactInvalid(f"{artifact.folder}: a graph does not take its golden inputs: {error}") from error
            found |= zip(outputs, values, strict=True)
        attended = Attended(golden["directions"], golden["attention"], bool(golden["user_known"]))
        linked = self.link(attended, golden["facets"])
        by_link = zip(LINK_OUTPUTS, (linked.score_C, linked.personal_C, linked.social_C), strict=True)
        compared = [(name, value, golden[name]) for name, value in [*found.items(), *by_link]]
        parts_DN = social_parts(golden["attention"], golden["followee_vectors"], np.eye(self.dim))
        compared.append(("directions (the sum of followees' parts)", parts_DN.sum(axis=1), golden["directions"][1]))
        worst = 0.0
        for name, value, expected in compared:
            if value.shape != expected.shape:
                raise ArtifactInvalid(f"{artifact.folder}: golden output {name} has another shape: {value.shape}")
            difference = relative_difference(value, expected)
            if not difference <= GOLDEN_TOLERANCE:
                raise ArtifactInvalid(
                    f"{artifact.folder}: golden output {name} differs by {difference:.1e} of its largest value; "
                    f"at most {GOLDEN_TOLERANCE:.0e} is accepted: export the model again"
                )
            worst = max(worst, difference)
        return worst


def to_bucket(
    image_BHWC: npt.NDArray[np.uint8], token_ids_BSW: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The same, padded: tweets and sentences to a power of two, words to a multiple of BUCKET_WORDS.

    Padding sentences and words are masked by the encoder; padding tweets are to be cut off what it gives.
    """
    tweets, sentences, words = token_ids_BSW.shape
    more = _power_of_two(tweets) - tweets
    token_padding = ((0, more), (0, _power_of_two(sentences) - sentences), (0, -words % BUCKET_WORDS))
    return (
        np.pad(image_BHWC, ((0, more), (0, 0), (0, 0), (0, 0))),
        np.pad(token_ids_BSW, token_padding, constant_values=PAD_ID),
    )


def encode_tweets(
    model: OnnxModel,
    tokenizer: Tokenizer,
    preprocessing: Preprocessing,
    images: Sequence[npt.NDArray[np.uint8]],
    texts: Sequence[str],
) -> npt.NDArray[np.float16]:
    """Vectors z as they are stored, float16 [B, D], of pictures uint8 [H, W, C] and their words.

    Raises RuntimeError where the encoder answers another number of vectors, or values that are not finite in fp16.
    """
    z_BD = model.encode(np.stack(images), token_ids(tokenizer, texts, preprocessing)).astype(np.float16)
    if len(z_BD) != len(texts) or not np.isfinite(z_BD).all():
        raise RuntimeError(f"the encoder gave {z_BD.shape} for {len(texts)} tweets, or values that are not finite")
    return z_BD


def _encoded(
    session: onnxruntime.InferenceSession, image_BHWC: npt.NDArray[np.uint8], token_ids_BSW: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    feeds = dict(zip(ENCODER_INPUTS, (image_BHWC, token_ids_BSW), strict=True))
    (vector_BD,) = session.run(ENCODER_OUTPUTS, feeds)
    return np.asarray(vector_BD, dtype=np.float32)


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length() if count else 1


def relative_difference(found: Array, expected: Array, scale: float | None = None) -> float:
    """Largest absolute difference as a share of `scale` (None: the largest absolute expected value)."""
    if expected.size == 0:
        return 0.0
    scale = (float(np.abs(expected).max()) if scale is None else scale) or 1.0
    return float(np.abs(np.asarray(found, dtype=np.float64) - expected).max()) / scale


def choose_device(wanted: Device) -> tuple[Literal["cpu", "cuda"], str]:
    """The device and, in plain words, why.

    ONNX Runtime lists CUDA as available wherever its GPU build is installed, so the driver is asked.
    Raises DeviceUnavailable where `cuda` was asked for and there is none.
    """
    if wanted == "cpu":
        return "cpu", "DEVICE=cpu"
    built = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    gpus = _count_gpus()
    if built and gpus:
        return "cuda", f"{gpus} found"
    missing = "no NVIDIA GPU or driver found" if not gpus else "this ONNX Runtime is built without CUDA"
    if wanted == "cuda":
        raise DeviceUnavailable(f"DEVICE=cuda, but {missing}: set DEVICE=auto or cpu, or install the driver")
    return "cpu", missing


def _count_gpus() -> int:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _session(artifact: Artifact, name: str, providers: list[str], threads: int) -> onnxruntime.InferenceSession:
    if "CUDAExecutionProvider" in providers:
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the cores have other work, too
    try:
        return onnxruntime.InferenceSession(artifact.folder / name, options, providers=providers)
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        raise ArtifactInvalid(f"{artifact.folder / name} does not load: {error}") from error


def verify_folder(folder: Path, device: Device) -> tuple[Artifact, float]:
    """Load an exported model and compare its golden outputs; the largest difference, too. Raises ArtifactInvalid.

    What the manifest names beside the files that serve is checked, too.
    """
    exported = load(folder)
    for name in exported.manifest.files:
        check_file(folder / name, exported.manifest)
    return exported, OnnxModel(exported, device).verify_golden(exported)
