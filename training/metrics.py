"""Ranking metrics of one list. Shape suffix: C candidates, best first."""

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


def precision_at(positive_C: Bools, k: int) -> float:
    """Share of positives among the first k; fewer than k candidates count as misses."""
    return float(positive_C[:k].sum()) / k


def auc(positive_C: Bools) -> float:
    """Share of (positive, negative) pairs in the right order; both must be present."""
    positives = int(positive_C.sum())
    negatives = len(positive_C) - positives
    negatives_above_C = np.cumsum(~positive_C)
    return float((negatives - negatives_above_C[positive_C]).sum()) / (positives * negatives)


def ndcg_at(positive_C: Bools, k: int) -> float:
    """Discounted gain of the first k over that of a perfect order."""
    discount_K = 1 / np.log2(np.arange(2, min(k, len(positive_C)) + 2))
    ideal = discount_K[: int(positive_C.sum())].sum()
    return float((positive_C[:k] * discount_K).sum() / ideal)


def reciprocal_rank(positive_C: Bools) -> float:
    """1 / rank of the first positive; there must be one."""
    return 1 / (int(np.argmax(positive_C)) + 1)
