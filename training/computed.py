"""Tweets' vectors that a retrain computes from the features that it was trained on, kept in the run's folder.

Torch computes them; `check_vectors` has ONNX Runtime encode some of the pictures and compares. So the others need not
be read again to publish the version.

Shape suffixes: T image tweets, B tweets of a batch, D dimensions.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from contract.artifact import Artifact
from contract.runtime import OnnxModel, encode_tweets, relative_difference
from training.errors import InputRejected, ParityFailed, TrainingDiverged
from training.features import Pictures, read_image
from training.model import TweetEncoder
from training.network import Network
from training.problem import Content

Vectors = dict[str, npt.NDArray[np.float16]]
"""By tweet id, [D] each."""
_FILE = "tweet_vectors.npz"
_BATCH = 512
_CHECKED = 16
TOLERANCE = 1e-3
"""Largest accepted difference, as a share of the largest value: fp16 has steps of 6e-4 there."""


@torch.inference_mode()
def keep_vectors(run: Path, tweet_ids: Sequence[str], encoder: TweetEncoder, content: Content) -> None:
    """Compute and write z of all tweets. Raises TrainingDiverged where one is not finite."""
    parts = torch.split(torch.arange(len(tweet_ids)), _BATCH)
    z_TD = np.concatenate([_encoded(encoder, content, part_B) for part_B in parts])
    if not np.isfinite(z_TD).all():
        raise TrainingDiverged("a tweet's vector is not finite: lower the learning rate or the initial deviation")
    partial = run / "tweet_vectors.partial.npz"
    np.savez(partial, allow_pickle=False, tweet_ids=np.array(tweet_ids), z=z_TD)
    partial.rename(run / _FILE)


def check_vectors(vectors: Vectors, exported: Artifact, network: Network, blobs: Pictures) -> None:
    """Raises ParityFailed where encoder.onnx says something else of some tweets; who has no picture is left out."""
    preprocessing = exported.manifest.preprocessing
    tweets, images = [], []
    for tweet in range(0, len(network.tweet_ids), len(network.tweet_ids) // _CHECKED + 1):
        with suppress(InputRejected):
            images.append(read_image(blobs, network.image_keys[tweet], preprocessing.image_size))
            tweets.append(tweet)
    if not tweets:
        return
    model, texts = OnnxModel(exported, device="cpu"), [network.texts[tweet] for tweet in tweets]
    encoded_BD = encode_tweets(model, exported.tokenizer, preprocessing, images, texts)
    kept_BD = np.stack([vectors[network.tweet_ids[tweet]] for tweet in tweets])
    if not (difference := relative_difference(kept_BD, encoded_BD)) <= TOLERANCE:
        raise ParityFailed(
            f"vectors of cached features differ from {exported.folder / 'encoder.onnx'} by {difference:.1e} of the "
            f"largest value; {TOLERANCE:.0e} is accepted: remove VAR_DIR/features"
        )


def kept_vectors(run: Path) -> Vectors:
    """What `keep_vectors` wrote; of a run that had the backbone trained nothing, since its features are not kept."""
    if not (run / _FILE).exists():
        return {}
    with np.load(run / _FILE, allow_pickle=False) as kept:
        return dict(zip(kept["tweet_ids"].tolist(), kept["z"], strict=True))


def _encoded(encoder: TweetEncoder, content: Content, tweet_B: torch.Tensor) -> npt.NDArray[np.float16]:
    x_BF = None if content.x_TF is None else content.x_TF[tweet_B]
    ids_BSW = None if content.token_ids_TSW is None else content.token_ids_TSW[tweet_B]
    z_BD: torch.Tensor = encoder(x_BF, ids_BSW)
    return z_BD.numpy().astype(np.float16)
