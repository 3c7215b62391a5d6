import numpy as np
import pytest

from contract.graph import TimelineEntry, UserView
from service.candidates import MAX_CANDIDATES, popularity, select_candidates
from service.cursor import Page, tweet_hash
from service.recommend import top_k

NOBODY = UserView(exists=True, followee_ids=[], seen_tweet_ids=set())
FIRST = Page("me", "v1", "followees", None, 1_000, frozenset())


def entries(*described: tuple[str, int]) -> list[TimelineEntry]:
    return [TimelineEntry(tweet_id, "author", at_ms) for tweet_id, at_ms in described]


def best(scores: list[float], candidates: list[TimelineEntry], k: int) -> list[str]:
    places = top_k(np.array(scores, dtype=np.float32), candidates, k)
    return [candidates[place].tweet_id for place in places]


def test_the_best_scores_come_first() -> None:
    candidates = entries(("a", 1), ("b", 2), ("c", 3), ("d", 4))
    assert best([0.1, 0.9, -3.0, 0.5], candidates, 3) == ["b", "d", "a"]


def test_a_score_that_is_not_finite_takes_no_place() -> None:
    candidates = entries(("nan", 9), ("inf", 9), ("low", 1), ("minus", 9), ("high", 1))
    assert best([np.nan, np.inf, -5.0, -np.inf, 2.0], candidates, 5) == ["high", "low"]


def test_only_scores_that_are_not_finite_give_nothing() -> None:
    assert best([np.nan, np.inf], entries(("a", 1), ("b", 2)), 2) == []


def test_ties_go_to_the_newer_then_to_the_smaller_id() -> None:
    candidates = entries(("c", 5), ("old", 4), ("a", 5), ("new", 6), ("b", 5))
    assert best([1.0] * 5, candidates, 5) == ["new", "a", "b", "c", "old"]


def test_ties_are_broken_before_the_cut() -> None:
    candidates = entries(("z", 1), ("y", 1), ("x", 1), ("newest", 2))
    assert best([0.0] * 4, candidates, 2) == ["newest", "x"]


@pytest.mark.parametrize("k", [2, 3, 100])
def test_k_above_the_number_of_candidates_gives_all(k: int) -> None:
    assert best([1.0, 2.0], entries(("a", 1), ("b", 1)), k) == ["b", "a"]


def test_no_candidates_give_nothing() -> None:
    assert best([], [], 3) == []


def test_the_order_does_not_depend_on_the_input_s() -> None:
    candidates = entries(*((f"t{n:02}", n % 3) for n in range(30)))
    scores = [float(n % 4) for n in range(30)]
    shuffled = np.random.default_rng(0).permutation(30).tolist()
    again = best([scores[n] for n in shuffled], [candidates[n] for n in shuffled], 30)
    assert again == best(scores, candidates, 30)


def test_a_tweet_counts_once_at_its_latest_activity() -> None:
    chosen = select_candidates(entries(("a", 1), ("b", 5), ("a", 9), ("a", 3)), NOBODY, FIRST)
    assert chosen == entries(("a", 9), ("b", 5))


def test_own_and_seen_tweets_are_left_out() -> None:
    view = UserView(exists=True, followee_ids=["author"], seen_tweet_ids={"seen"})
    own = TimelineEntry("own", "me", 10)
    assert select_candidates([own, *entries(("seen", 9), ("left", 8))], view, FIRST) == entries(("left", 8))


def test_newest_come_first_then_the_smaller_id() -> None:
    chosen = select_candidates(entries(("b", 5), ("new", 7), ("a", 5), ("old", 1)), NOBODY, FIRST)
    assert [entry.tweet_id for entry in chosen] == ["new", "a", "b", "old"]


def test_the_bound_keeps_the_newest() -> None:
    many = entries(*((f"t{n}", n) for n in range(MAX_CANDIDATES + 10)))
    chosen = select_candidates(many, NOBODY, FIRST)
    assert len(chosen) == MAX_CANDIDATES
    assert {entry.at_ms for entry in chosen} == set(range(10, MAX_CANDIDATES + 10))


def test_what_is_left_out_does_not_count_towards_the_bound() -> None:
    seen = {f"s{n}" for n in range(50)}
    view = UserView(exists=True, followee_ids=[], seen_tweet_ids=seen)
    many = entries(*((tweet_id, 10**6) for tweet_id in seen), *((f"t{n}", n) for n in range(MAX_CANDIDATES)))
    assert len(select_candidates(many, view, FIRST)) == MAX_CANDIDATES


def test_no_entries_give_no_candidates() -> None:
    assert select_candidates([], NOBODY, FIRST) == []


def test_what_pages_before_had_and_what_came_since_is_left_out() -> None:
    later = Page("me", "v1", "followees", "followees", 8, frozenset({tweet_hash("shown")}))
    assert select_candidates(entries(("new", 9), ("now", 8), ("shown", 7), ("old", 6)), NOBODY, later) == entries(
        ("now", 8), ("old", 6)
    )


def test_a_tweet_that_a_followee_retweeted_since_stays_at_its_older_time() -> None:
    later = Page("me", "v1", "followees", "followees", 8, frozenset())
    assert select_candidates(entries(("a", 5), ("a", 9)), NOBODY, later) == entries(("a", 5))


def test_a_new_tweet_needs_fewer_retweets_than_an_old_one_to_be_popular() -> None:
    hour = 3_600_000
    old, new = TimelineEntry("old", "author", 0), TimelineEntry("new", "author", 23 * hour)
    at = 24 * hour
    assert popularity(10, new, at) > popularity(10, old, at) > popularity(9, old, at) > popularity(0, new, at) == 0
    assert popularity(50, old, at) < popularity(10, new, at) < popularity(500, old, at)
    assert popularity(1, TimelineEntry("ahead", "author", at + hour), at) == popularity(
        1, TimelineEntry("now", "author", at), at
    )
