"""What a new user's vector is fitted to: which tweets count as retweeted, as shown, as passed by, and what is drawn."""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pytest

from contract.artifact import Artifact, Sampling
from contract.fold_in import (
    MOST_DRAWN_FROM,
    MOST_RETWEETS,
    Examples,
    History,
    generator_of,
    read_history,
    shown_before,
    some_of,
    with_negatives,
)
from contract.graph import TIMELINE_LIMIT, OnlineGraph, TimelineEntry, UserView, entries_per_followee

DRAWN = (4, 5)
PASSED_BY, OTHERS = 1.0, 2.0


@dataclass(frozen=True)
class FakeGraph:
    view: UserView
    of: dict[str, list[TimelineEntry]]
    newest: list[TimelineEntry] = field(default_factory=list)

    async def user(self, _user_id: str) -> UserView:
        return self.view

    async def timelines(self, author_ids: list[str], limit: int = TIMELINE_LIMIT) -> list[list[TimelineEntry]]:
        return [self.of.get(author, [])[:limit] for author in author_ids]

    async def recent(self) -> list[TimelineEntry]:
        return self.newest


@dataclass(frozen=True)
class Trained:
    trained_users: frozenset[str]


def entries(*described: tuple[str, str, int]) -> list[TimelineEntry]:
    return [TimelineEntry(*one) for one in described]


async def history(graph: FakeGraph, trained: set[str]) -> History:
    return await read_history("me", cast(Artifact, Trained(frozenset(trained))), cast(OnlineGraph, graph))


def drawn(shown: list[bool], passed_by: int, others: int, sampling: Sampling) -> Examples | None:
    """Positives are 0, what was passed by is 1, other tweets are 2."""
    zeros, ones, twos = (np.full((n, 3), v, np.float16) for n, v in ((len(shown), 0), (passed_by, 1), (others, 2)))
    nobody = np.empty((0, 3), np.float16)
    shown_P = np.array(shown, dtype=bool)
    return with_negatives(nobody, zeros, shown_P, ones, twos, DRAWN, sampling, generator_of("me", ["t"]))


@pytest.mark.anyio
async def test_negatives_are_neither_retweeted_nor_hidden_nor_the_users_own() -> None:
    view = UserView(exists=True, followee_ids=["known", "new"], seen_tweet_ids={"liked", "hidden", "long ago"})
    shown = entries(("hidden", "known", 9), ("passed by", "other", 8), ("liked", "known", 3), ("mine", "me", 2))
    graph = FakeGraph(
        view,
        {"me": entries(("liked", "known", 5), ("mine", "me", 1)), "known": shown, "new": entries(("seen", "new", 6))},
        entries(("fresh", "x", 9), ("long ago", "x", 8), ("liked", "known", 3), ("mine", "me", 1)),
    )
    found = await history(graph, {"known"})
    assert found.retweet_ids == ["liked"]
    assert found.passed_by_ids == ["passed by", "seen"]
    assert found.other_ids == ["fresh"]
    assert found.followee_ids == ["known"]
    assert found.shown_P.tolist() == [True]


@pytest.mark.anyio
async def test_who_follows_nobody_has_a_history_too() -> None:
    graph = FakeGraph(UserView(True, [], {"a"}), {"me": entries(("a", "x", 5))}, entries(("a", "x", 1), ("b", "x", 2)))
    found = await history(graph, set())
    assert (found.retweet_ids, found.passed_by_ids, found.other_ids) == (["a"], [], ["b"])
    assert found.shown_P.tolist() == [False]


def test_a_retweet_was_shown_if_a_followee_had_it_before() -> None:
    retweets = entries(("before", "x", 5), ("at once", "x", 5), ("after", "x", 5), ("never", "x", 5))
    shown = entries(("before", "x", 9), ("before", "x", 4), ("at once", "x", 5), ("after", "x", 6))
    assert shown_before(retweets, shown).tolist() == [True, True, False, False]


def test_matched_negatives_come_from_where_the_retweet_does() -> None:
    examples = drawn([True, False, True], 3, 4, "matched")
    assert examples is not None
    assert examples.negative_PSKD.shape == (3, *DRAWN, 3)
    assert [set(part.ravel().tolist()) for part in examples.negative_PSKD] == [{PASSED_BY}, {OTHERS}, {PASSED_BY}]


@pytest.mark.parametrize(
    ("sampling", "passed_by", "others", "source"),
    [
        ("uniform", 3, 4, OTHERS),
        ("followees", 3, 4, PASSED_BY),
        ("matched", 0, 4, OTHERS),
        ("matched", 3, 0, PASSED_BY),
        ("uniform", 3, 0, PASSED_BY),
    ],
)
def test_a_pool_stands_in_for_an_empty_one(sampling: Sampling, passed_by: int, others: int, source: float) -> None:
    examples = drawn([True, False], passed_by, others, sampling)
    assert examples is not None
    assert set(examples.negative_PSKD.ravel().tolist()) == {source}


@pytest.mark.parametrize(
    ("shown", "passed_by", "others", "sampling"),
    [([], 3, 4, "matched"), ([True], 0, 0, "matched"), ([True], 0, 4, "followees"), ([True], 0, 0, "uniform")],
)
def test_nothing_to_tell_apart_gives_nothing(
    shown: list[bool], passed_by: int, others: int, sampling: Sampling
) -> None:
    assert drawn(shown, passed_by, others, sampling) is None


def test_the_numbers_depend_on_user_and_retweets_alone() -> None:
    def numbers(user: str, retweets: list[str]) -> list[int]:
        return [int(number) for number in generator_of(user, retweets).integers(2**30, size=4)]

    assert numbers("u", ["a", "b"]) == numbers("u", ["b", "a"])
    assert numbers("u", ["a"]) != numbers("u", ["b"])
    assert numbers("u", ["a"]) != numbers("v", ["a"])


def test_what_is_read_is_bounded() -> None:
    assert len(some_of([f"t{n}" for n in range(MOST_DRAWN_FROM + 9)], generator_of("u", []))) == MOST_DRAWN_FROM
    assert some_of(["b", "a"], generator_of("u", [])) == ["b", "a"]
    assert [entries_per_followee(n, 6_000) for n in (0, 1, 10_000)] == [TIMELINE_LIMIT, TIMELINE_LIMIT, 5]
    assert [entries_per_followee(n, 6_000, most=2) for n in (1, 10_000)] == [2, 2]
    assert MOST_RETWEETS <= TIMELINE_LIMIT
