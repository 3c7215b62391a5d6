"""Tweets' vectors that a retrain computes from the features that it was trained on, kept in the run's folder.

Torch computes them, and `verify` sees that ONNX Runtime says the same: to publish the version no picture is read again.

Shape suffixes: T image tweets, B tweets of a batch, D dimensions.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from training.errors import TrainingDiverged
from training.model import TweetEncoder
from training.problem import Content

Vectors = dict[str, npt.NDArray[np.float16]]
"""By tweet id, [D] each."""
_FILE = "tweet_vectors.npz"
_BATCH = 512


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
