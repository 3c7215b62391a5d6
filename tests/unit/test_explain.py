"""Whom an explanation names."""

import numpy as np
import pytest

from contract.graph import UserView
from contract.runtime import Attended, Ranking
from service.explain import MOST_SHARES, largest, reasons, shares
from service.held import Held, People
from service.table import packed_directions

NAN, INF = float("nan"), float("inf")


def people_of(held: Held, followees: list[str], attention: list[float], known: list[int]) -> People:
    """Of "me", who follows some, of whom the model knows those at some places."""
    view = held.view("me", UserView(exists=True, followee_ids=followees, seen_tweet_ids=set()))
    directions_2D = np.ones((2, held.dim), dtype=np.float32)
    attended = Attended(directions_2D, np.array(attention, dtype=np.float32), True)
    return People(view, 0, np.array(known, dtype=np.int64), attended, packed_directions(directions_2D))


def ranking_of(people: People) -> Ranking:
    nothing_C = np.empty(0, dtype=np.float32)
    return Ranking(nothing_C, nothing_C, nothing_C, people.attended.attention_N)


def named(values: list[float], most: int) -> list[str]:
    """Of followees f0, f1 and so on, in the order of their values."""
    people = people_of(Held("v1", dim=2), [f"f{n}" for n in range(len(values))], [], list(range(len(values))))
    return [user_id for user_id, _ in largest(np.array(values, dtype=np.float32), people, most)]


def test_the_largest_come_first_and_of_equal_ones_the_smaller_id() -> None:
    assert named([0.1, -3.0, 0.5, 0.2], 3) == ["f2", "f3", "f0"]
    assert named([0.1, 0.5, 0.1, 0.1], 2) == ["f1", "f0"]
    assert named([0.0] * 5, 3) == ["f0", "f1", "f2"]
    assert named([-1.0, -2.0], 3) == ["f0", "f1"]
    assert named([], 3) == []


@pytest.mark.parametrize("odd", [NAN, INF, -INF])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_what_is_not_finite_is_not_named(odd: float, most: int) -> None:
    assert named([odd, 1.0, odd, 2.0], most) == ["f3", "f1"][:most]
    assert named([odd, odd], most) == []


def test_at_most_fifty_have_a_share_and_those_whom_the_model_knows() -> None:
    followees = [f"f{n:03}" for n in range(200)]
    known = list(range(0, 200, 2))
    people = people_of(Held("v1", dim=2), followees, [n / 1_000 for n in range(100)], known)
    found = shares(people, ranking_of(people), [])
    assert [one.user_id for one in found] == [followees[place] for place in known[::-1][:MOST_SHARES]]
    assert found[0].share == pytest.approx(0.099)
    assert shares(people, None, []) == []


def test_whoever_carries_a_tweet_has_a_share_too() -> None:
    """However small: of 60 the least attended to suit the tweet best."""
    followees = [f"f{n:03}" for n in range(61)]
    held = Held("v1", dim=2)
    people = people_of(held, followees, [(n + 1) / 2_000 for n in range(60)], list(range(1, 61)))
    vectors_ND = np.array([[1_000 if n < 2 else 0, 1] for n in range(60)], dtype=np.float16)
    held.users.put(followees[1:], followees[1:], vectors_ND)
    held.tweets.put(["t1"], ["t1"], np.array([[1, 0]], dtype=np.float16))
    because = reasons(held.tweets.rows(["t1"]), people, ranking_of(people), "sum", held)
    assert [one.user_id for one in because[0]] == ["f002", "f001", "f003"]
    found = shares(people, ranking_of(people), because)
    assert [one.user_id for one in found] == [*reversed(followees[11:]), "f003", "f002", "f001"]
    assert [one.share for one in found[-3:]] == pytest.approx([3 / 2_000, 2 / 2_000, 1 / 2_000])


def test_a_part_is_the_share_times_how_the_tweet_suits_the_followee() -> None:
    held = Held("v1", dim=2)
    people = people_of(held, ["a", "b", "c", "d", "unknown"], [0.1, 0.2, 0.3, 0.4], [0, 1, 2, 3])
    vectors_ND = np.array([[1, 0], [1, 1], [0, 5], [NAN, 1]], dtype=np.float16)
    held.users.put(["a", "b", "c", "d"], ["a", "b", "c", "d"], vectors_ND)
    held.tweets.put(["t1", "t2"], ["t1", "t2"], np.array([[2, 1], [0, -1]], dtype=np.float16))
    rows = held.tweets.rows(["t2", "t1"])
    second, first = reasons(rows, people, ranking_of(people), "sum", held)
    assert [one.user_id for one in first] == ["c", "b", "a"]
    assert [one.part for one in first] == pytest.approx([1.5, 0.6, 0.2])
    assert [one.user_id for one in second] == ["a", "b", "c"]
    assert [one.part for one in second] == pytest.approx([0, -0.2, -1.5])
    assert reasons(rows, people, ranking_of(people), "personal", held) == [[], []]  # which counts no followee
    assert reasons(rows, people, None, "sum", held) == [[], []]
    assert reasons(rows[:0], people, ranking_of(people), "sum", held) == []
