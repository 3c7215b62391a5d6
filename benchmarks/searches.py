"""Ways to find the K best of many tweets for a user: every vector, int8 rows with bounds, usearch's and faiss' indexes.

Shape suffixes: T tweets, C candidates, D dimensions.
"""

import math
import time
from collections.abc import Callable, Iterator

import numkong
import numpy as np
import numpy.typing as npt

from benchmarks.made_vectors import Floats
from benchmarks.site import DIM
from contract.link import NUMPY, Link, combine
from service.table import Table, packed_directions

CHUNK = 50_000
_DEEPER = 4
"""So many times K are retrieved from an index, or ranked first to find a bound, before the true scores decide."""
_FEWEST_RETRIEVED = 100
_MOST_INT8 = 127
_ROUNDING = 1e-5
"""Of float32, as a share of |direction| |vector|: far more than it is."""

Rows = npt.NDArray[np.int64]
Search = Callable[["User", Link, int], Rows]
"""The rows of the K best for a user, under a link."""


class User:
    """u and ubar, float32 [2, D], also as the service multiplies vectors by them, and their sum.

    f + h is large in the direction of the sum, and no score is large elsewhere (`least_sum`).
    """

    def __init__(self, directions_2D: Floats) -> None:
        self.packed = packed_directions(directions_2D)
        self.sum_D: Floats = directions_2D.sum(axis=0)


def every_vector(tweets: Table, size: int) -> Search:
    """As the service ranks."""
    rows_T = np.arange(size)
    return lambda user, link, k: best_of(tweets, rows_T, user, link, k)


def best_of(tweets: Table, rows_C: Rows, user: User, link: Link, k: int) -> Rows:
    """The rows of the K best scores among some."""
    score_C = scores(tweets, rows_C, user, link)
    return rows_C[np.argpartition(score_C, len(score_C) - k)[len(score_C) - k :]] if len(score_C) > k else rows_C


def scores(tweets: Table, rows_C: Rows, user: User, link: Link) -> Floats:
    """Of some rows, as a request computes them."""
    f_C, h_C = tweets.products(rows_C, user.packed)
    return np.asarray(combine(link, f_C, h_C, True, True, NUMPY)[0])


def least_sum(link: Link, score: float) -> float:
    """What f + h (its absolute value, for the product) must be at least for a score: f = h is the best of all.

    Since log softplus is concave, softplus(f) softplus(h) <= softplus((f + h) / 2)^2; and f h <= ((f + h) / 2)^2.
    """
    if link == "sum":
        return score
    if link == "product":
        return 2 * math.sqrt(max(0.0, score))
    return 2 * math.log(math.expm1(math.sqrt(score)))


class Int8Rows:
    """Vectors rounded to int8 in one scale. One pass over them gives f + h within a bound (Cauchy-Schwarz).

    What cannot be among the K best by that bound is left out, and the true scores of the others decide: exact answers.
    """

    def __init__(self, tweets: Table, size: int) -> None:
        self._tweets = tweets
        self.rounded_TD = np.empty((size, DIM), dtype=np.int8)
        blocks = [slice(start, min(size, start + CHUNK)) for start in range(0, size, CHUNK)]
        most = max(float(np.abs(tweets.vectors_RD[block]).max()) for block in blocks)
        self._scale = most / _MOST_INT8
        self._norm = self._error = 0.0
        for block in blocks:
            z_TD = tweets.vectors_RD[block].astype(np.float32)
            rounded_TD = np.rint(z_TD / self._scale)
            self.rounded_TD[block] = rounded_TD
            self._norm = max(self._norm, float(np.linalg.norm(rounded_TD * self._scale, axis=1).max()))
            self._error = max(self._error, float(np.linalg.norm(z_TD - rounded_TD * self._scale, axis=1).max()))

    def search(self, user: User, link: Link, k: int) -> Rows:
        """The rows of the K best."""
        sum_T, bound = self._sums(user.sum_D)
        key_T = np.abs(sum_T) if link == "product" else sum_T
        first = max(0, len(key_T) - _DEEPER * k)
        likely = np.argpartition(key_T, first)[first:]
        least = float(np.partition(scores(self._tweets, likely, user, link), -k)[-k])
        maybe = (key_T >= least_sum(link, least) - bound).nonzero()[0]
        return best_of(self._tweets, maybe, user, link, k)

    def _sums(self, direction_D: Floats) -> tuple[Floats, float]:
        """f + h of all, and how far off they are at most. The direction goes as two int8 numbers, 15 bits of it."""
        scale = float(np.abs(direction_D).max()) / _MOST_INT8
        high_D = np.rint(direction_D / scale)
        low_D = np.rint((direction_D / scale - high_D) * 2 * _MOST_INT8)
        packed = numkong.dots_pack(np.stack([high_D, low_D]).astype(np.int8))
        parts_T2 = np.asarray(numkong.dots_packed(self.rounded_TD, packed))
        sum_T = parts_T2[:, 1] * np.float32(scale * self._scale / (2 * _MOST_INT8))
        sum_T += parts_T2[:, 0] * np.float32(scale * self._scale)
        left_D = direction_D - scale * (high_D + low_D / (2 * _MOST_INT8))
        norm = float(np.linalg.norm(direction_D))
        bound = norm * self._error + float(np.linalg.norm(left_D)) * self._norm + _ROUNDING * norm * self._norm
        return sum_T, bound


def indexes(tweets: Table, size: int) -> Iterator[tuple[str, float, float, Search]]:
    """usearch's HNSW over fp16 and int8, faiss' IVF over fp16: name, seconds to build, bytes a tweet, and a search."""
    for dtype in ("f16", "i8"):
        yield f"usearch HNSW {dtype}", *usearch_index(tweets, size, dtype)
    for probes in (8, 32):
        yield f"faiss IVF, {probes} probes", *faiss_ivf(tweets, size, probes)


def usearch_index(tweets: Table, size: int, dtype: str) -> tuple[float, float, Search]:
    """With its defaults: connectivity 16, expansion 128 to add and 64 to search; all cores to build."""
    from usearch.index import Index

    index = Index(ndim=DIM, metric="ip", dtype=dtype)
    largest = float(np.abs(tweets.vectors_RD[:CHUNK]).max())  # int8 takes what lies within +-1
    started = time.perf_counter()
    for rows_C in np.split(np.arange(size), range(CHUNK, size, CHUNK)):
        index.add(rows_C, np.clip(tweets.vectors_RD[rows_C].astype(np.float32) / largest, -1, 1))
    seconds = time.perf_counter() - started

    def retrieve(direction_D: Floats, count: int) -> Rows:
        length = float(np.linalg.norm(direction_D))
        return np.asarray(index.search(direction_D / length, count).keys, dtype=np.int64)

    return seconds, index.serialized_length / size, retrieved(tweets, retrieve)


def faiss_ivf(tweets: Table, size: int, probes: int) -> tuple[float, float, Search]:
    """fp16; twice as many lists as the square root of the size."""
    import faiss

    faiss.omp_set_num_threads(1)
    lists = int(2 * math.sqrt(size))
    quantizer = faiss.IndexFlatIP(DIM)
    half = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexIVFScalarQuantizer(quantizer, DIM, lists, half, faiss.METRIC_INNER_PRODUCT, False)
    index.nprobe, index.cp.niter = probes, 8
    started = time.perf_counter()
    sample = np.random.default_rng(0).choice(size, min(size, 40 * lists), replace=False)
    index.train(tweets.vectors_RD[np.sort(sample)].astype(np.float32))
    for rows_C in np.split(np.arange(size), range(CHUNK, size, CHUNK)):
        index.add(tweets.vectors_RD[rows_C].astype(np.float32))
    seconds = time.perf_counter() - started

    def retrieve(direction_D: Floats, count: int) -> Rows:
        rows_C = index.search(direction_D[None], count)[1][0]
        return np.asarray(rows_C[rows_C >= 0], dtype=np.int64)

    return seconds, index.sa_code_size() + 8, retrieved(tweets, retrieve)


def retrieved(tweets: Table, retrieve: Callable[[Floats, int], Rows]) -> Search:
    """By u + ubar (and its opposite, for the product: two negatives make a large one), then the true scores."""

    def search(user: User, link: Link, k: int) -> Rows:
        count = max(_FEWEST_RETRIEVED, _DEEPER * k)
        rows_C = retrieve(user.sum_D, count)
        if link == "product":
            rows_C = np.union1d(rows_C, retrieve(-user.sum_D, count))
        return best_of(tweets, rows_C, user, link, k)

    return search
