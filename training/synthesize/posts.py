"""Pictures and texts of many tweets, by as many processes as asked for."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from training.synthesize.pictures import render
from training.synthesize.words import write
from training.workers import end_with_parent

Post = tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, ...]]
"""Visual topic (8,), text topic (8,) and the key of the random stream that draws the rest."""

_CHUNK = 16


@contextmanager
def made_posts(posts: Sequence[Post], workers: int) -> Iterator[Iterator[tuple[bytes, str]]]:
    """JPEG and text of each post, in order; the same for any number of workers, none of which outlives the context."""
    if workers == 1:
        yield map(_make, posts)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=end_with_parent)
    try:
        yield pool.map(_make, posts, chunksize=_CHUNK)
    finally:
        pool.shutdown(cancel_futures=True)


def _make(post: Post) -> tuple[bytes, str]:
    visual_V, text_V, stream = post
    rng = np.random.default_rng(stream)
    return render(visual_V, rng), write(text_V, rng)
