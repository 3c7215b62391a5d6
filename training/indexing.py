"""Plain steps on arrays of numbers: membership in sorted keys, places within groups, pairs as sparse matrices.

Shape suffixes: X things to place, N sorted keys or stored entries, G groups.
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from training.network import Grouped, Ints


def among(key_X: Ints, key_N: Ints) -> npt.NDArray[np.bool_]:
    """Which keys, of any shape, are among the sorted ones."""
    return find(key_X, key_N)[1]


def find(key_X: Ints, key_N: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Where each key stands among the sorted ones, and whether it does; where it does not, its place means nothing."""
    if not len(key_N):
        return np.zeros_like(key_X), np.zeros(key_X.shape, dtype=bool)
    place_X = np.searchsorted(key_N, key_X).clip(max=len(key_N) - 1)
    return place_X, key_N[place_X] == key_X


def count_up(length_G: Ints) -> Ints:
    """0, 1, 2, ... anew for each group, int64 [the sum of the lengths]."""
    start_G = np.cumsum(length_G) - length_G
    return np.arange(length_G.sum()) - np.repeat(start_G, length_G)


def rank_within(group_X: Ints, *by: npt.NDArray[np.generic]) -> Ints:
    """The place of each thing in its group, from 0, in order of `by` ([X] each, the first counts most)."""
    order = np.lexsort((*reversed(by), group_X))
    rank_X = np.empty(len(group_X), dtype=np.int64)
    rank_X[order] = count_up(np.bincount(group_X))
    return rank_X


def pair_matrix(row_X: Ints, column_X: Ints, shape: tuple[int, int]) -> csr_array:
    """How often each pair is there, float64."""
    return csr_array((np.ones(len(row_X)), (row_X, column_X)), shape=shape)


def grouped_matrix(grouped: Grouped, columns: int) -> csr_array:
    """A row for each of the groups, 1 in the columns that it names, float64 [G, columns]."""
    ones = np.ones(len(grouped.values))
    return csr_array((ones, grouped.values, grouped.starts), shape=(len(grouped), columns))


def entries(matrix: csr_array) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Row, column and value of what is stored, [N] each, in order of row and column."""
    matrix.sort_indices()
    row_N = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return row_N, matrix.indices.astype(np.int64), matrix.data
