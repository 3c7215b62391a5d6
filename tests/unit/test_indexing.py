import numpy as np
import pytest

from training.indexing import among, count_up, entries, find, grouped_matrix, pair_matrix, rank_within
from training.network import group


@pytest.mark.parametrize("known", [[], [4], [0, 2, 3, 9]])
def test_keys_are_found_where_they_stand(known: list[int]) -> None:
    key_X, key_N = np.arange(-1, 12).reshape(1, 13), np.array(known, dtype=np.int64)
    place_X, found_X = find(key_X, key_N)
    assert found_X.tolist() == [[key in known for key in range(-1, 12)]]
    assert key_N[place_X[found_X]].tolist() == known
    assert among(key_X, key_N).tolist() == found_X.tolist()


def test_counting_starts_anew_for_each_group() -> None:
    assert count_up(np.array([2, 0, 3, 1])).tolist() == [0, 1, 0, 1, 2, 0]
    assert count_up(np.array([], dtype=np.int64)).tolist() == []


def test_ranks_are_by_the_first_key_and_then_the_second() -> None:
    group_X, first_X, second_X = np.array([[7, 1, 7, 7, 1], [5, 0, 3, 5, 0], [2, 9, 8, 1, 4]])
    assert rank_within(group_X, first_X, second_X).tolist() == [2, 1, 0, 1, 0]


def test_matrices_hold_what_was_put_in() -> None:
    repeated = pair_matrix(np.array([1, 0, 1, 1]), np.array([2, 1, 2, 0]), (3, 4))
    assert [part.tolist() for part in entries(repeated)] == [[0, 1, 1], [1, 0, 2], [1.0, 1.0, 2.0]]
    grouped = grouped_matrix(group(np.array([2, 0, 2]), np.array([3, 1, 0]), 3), 4)
    assert [part.tolist() for part in entries(grouped)] == [[0, 2, 2], [1, 0, 3], [1.0, 1.0, 1.0]]
