"""Tweets' vectors that a retrain computes from the features that it was trained on, kept in the run's folder.

So no picture is read again to publish the version. Torch computes them; `verify` has seen that encoder.onnx says the
same, and `image_features` that the features are the pictures'.

Shape suffixes: T image tweets, B tweets of a batch, D dimensions.
"""

import logging
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from training.errors import TrainingDiverged
from training.model import TweetEncoder
from training.problem import Content

log = logging.getLogger(__name__)

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
    partial = run / "tweet_vectors.partial"
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, tweet_ids=np.array(tweet_ids), z=z_TD)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(run / _FILE)


def kept_vectors(run: Path) -> Vectors:
    """What `keep_vectors` wrote. Empty after fine-tuning, where no features are kept, and where it cannot be read."""
    if not (run / _FILE).exists():
        return {}
    try:
        with (run / _FILE).open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return dict(zip(kept["tweet_ids"].tolist(), kept["z"], strict=True))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        log.warning("all tweets are encoded, since %s cannot be read: %r", run / _FILE, error)
        return {}


def _encoded(encoder: TweetEncoder, content: Content, tweet_B: torch.Tensor) -> npt.NDArray[np.float16]:
    x_BF = None if content.x_TF is None else content.x_TF[tweet_B]
    ids_BSW = None if content.token_ids_TSW is None else content.token_ids_TSW[tweet_B]
    z_BD: torch.Tensor = encoder(x_BF, ids_BSW)
    return z_BD.numpy().astype(np.float16)
