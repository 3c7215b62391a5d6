import numpy as np
import pytest

from contract.graph import TimelineEntry, UserView
from service.candidates import popularity, select_candidates
from service.cursor import Page, tweet_hash
from service.held import Held
from service.recommend import Pool, top_k

FIRST = Page("me", "v1", "followees", None, 1_000, frozenset())
HOUR = 3_600_000


def entries(*described: tuple[str, int]) -> list[TimelineEntry]:
    return [TimelineEntry(tweet_id, "author", at_ms) for tweet_id, at_ms in described]


def best(scores: list[float], candidates: list[TimelineEntry], k: int) -> list[str]:
    held = Held("v1", dim=2)
    row_C, at_C = held.entries(candidates)
    places = top_k(np.array(scores, dtype=np.float32), Pool("followees", row_C, at_C), held.tweets.ids, k)
    return [candidates[place].tweet_id for place in places]


def chosen(
    offered: list[TimelineEntry], seen: set[str] | None = None, page: Page = FIRST, most: int = 2_000
) -> list[TimelineEntry]:
    """What is selected for the user "me", newest first."""
    held = Held("v1", dim=2)
    view = held.view("me", UserView(exists=True, followee_ids=["author"], seen_tweet_ids=seen or set()))
    row_C, at_C = select_candidates(held.entries(offered), held, view, page, most)
    assert (np.diff(at_C) >= 0).all()
    authors = [held.users.ids[row] for row in held.tweets.owner_R[row_C]]
    made = zip([held.tweets.ids[row] for row in row_C], authors, at_C.tolist(), strict=True)
    return sorted((TimelineEntry(*one) for one in made), key=lambda entry: (-entry.at_ms, entry.tweet_id))


def test_the_best_scores_come_first() -> None:
    candidates = entries(("a", 1), ("b", 2), ("c", 3), ("d", 4))
    assert best([0.1, 0.9, -3.0, 0.5], candidates, 3) == ["b", "d", "a"]


def test_a_score_that_is_not_finite_takes_no_place() -> None:
    candidates = entries(("nan", 9), ("inf", 9), ("low", 1), ("minus", 9), ("high", 1))
    assert best([np.nan, np.inf, -5.0, -np.inf, 2.0], candidates, 5) == ["high", "low"]


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("k", [1, 2])
def test_one_kind_of_score_that_is_not_finite_takes_no_place(odd: float, k: int) -> None:
    assert best([odd, 1.0, odd, 2.0], entries(("a", 9), ("b", 1), ("c", 9), ("d", 1)), k) == ["d", "b"][:k]


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
    assert chosen(entries(("a", 1), ("b", 5), ("a", 9), ("a", 3))) == entries(("a", 9), ("b", 5))


def test_own_and_seen_tweets_are_left_out() -> None:
    own = TimelineEntry("own", "me", 10)
    assert chosen([own, *entries(("seen", 9), ("left", 8))], seen={"seen", "other"}) == entries(("left", 8))


@pytest.mark.parametrize("most", [1, 7, 499])
def test_the_bound_keeps_the_newest(most: int) -> None:
    shuffled = np.random.default_rng(0).permutation(500).tolist()
    kept = chosen(entries(*((f"t{n:03}", n) for n in shuffled)), most=most)
    assert [entry.at_ms for entry in kept] == list(range(499, 499 - most, -1))


def test_of_the_oldest_within_the_bound_the_smaller_ids_are_kept() -> None:
    offered = entries(("c", 5), ("new", 7), ("b", 5), ("old", 1), ("a", 5))
    assert chosen(offered, most=3) == entries(("new", 7), ("a", 5), ("b", 5))
    assert chosen(offered[::-1], most=3) == entries(("new", 7), ("a", 5), ("b", 5))


def test_what_is_left_out_does_not_count_towards_the_bound() -> None:
    seen = {f"s{n}" for n in range(50)}
    offered = entries(*((tweet_id, 10**6) for tweet_id in seen), *((f"t{n}", n) for n in range(100)))
    assert len(chosen(offered, seen=seen, most=100)) == 100


def test_no_entries_give_no_candidates() -> None:
    assert chosen([]) == []


def test_what_pages_before_had_and_what_came_since_is_left_out() -> None:
    later = Page("me", "v1", "followees", "followees", 8, frozenset({tweet_hash("shown"), tweet_hash("elsewhere")}))
    offered = entries(("new", 9), ("now", 8), ("shown", 7), ("old", 6))
    assert chosen(offered, page=later) == entries(("now", 8), ("old", 6))


def test_a_tweet_that_a_followee_retweeted_since_stays_at_its_older_time() -> None:
    later = Page("me", "v1", "followees", "followees", 8, frozenset())
    assert chosen(entries(("a", 5), ("a", 9)), page=later) == entries(("a", 5))


def popular(retweets: int, hours_ago: int) -> float:
    now = 100 * HOUR
    return float(popularity(np.array([retweets]), np.array([now - hours_ago * HOUR]), now)[0])


def test_a_new_tweet_needs_fewer_retweets_than_an_old_one_to_be_popular() -> None:
    assert popular(10, 1) > popular(10, 24) > popular(9, 24) > popular(0, 1) == 0
    assert popular(50, 24) < popular(10, 1) < popular(500, 24)
    assert popular(1, -1) == popular(1, 0)  # a stamp ahead of this machine's clock
