import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from tests.problems import one_list
from training.errors import TrainingDiverged
from training.evaluate import METRICS, judge
from training.problem import CandidateLists, Floats

Marked = list[tuple[float, bool]]

lists_without_ties = st.lists(
    st.tuples(st.integers(-1000, 1000).map(float), st.booleans()), min_size=2, max_size=40, unique_by=lambda row: row[0]
).filter(lambda rows: 0 < sum(positive for _, positive in rows) < len(rows))


def judged(rows: Marked, seed: int = 0) -> dict[str, float]:
    lists, scores = one_list(rows)
    return judge(lists, lambda _: np.array(scores), seed).means


def arrays(rows: Marked) -> tuple[Floats, Floats]:
    return np.array([positive for _, positive in rows], dtype=float), np.array([score for score, _ in rows])


def random_rows(generator: np.random.Generator, length: int, positives: int, values: int | None = None) -> Marked:
    scores = generator.normal(size=length) if values is None else generator.integers(values, size=length).astype(float)
    marks = generator.permutation(np.arange(length) < positives)
    return list(zip(scores.tolist(), marks.tolist(), strict=True))


@given(lists_without_ties)
def test_auc_and_ndcg_are_scikit_learn_s(rows: Marked) -> None:
    gains, scores = arrays(rows)
    means = judged(rows)
    assert means["auc"] == pytest.approx(roc_auc_score(gains, scores))
    assert means["ndcg@10"] == pytest.approx(ndcg_score([gains], [scores], k=10))


@given(lists_without_ties)
def test_precision_and_reciprocal_rank_count_from_the_top(rows: Marked) -> None:
    best_first = [positive for _, positive in sorted(rows, reverse=True)]
    positives, hits = sum(best_first), sum(best_first[:3])
    means = judged(rows)
    assert means["p@1"] == float(best_first[0])
    assert means["p@3"] == pytest.approx(hits / 3)
    assert means["p@3/min"] == pytest.approx(hits / min(3, positives))
    assert means["mrr"] == pytest.approx(1 / (best_first.index(True) + 1))


@pytest.mark.parametrize(("length", "positives"), [(2, 1), (5, 4), (11, 1), (60, 1), (60, 25), (300, 11)])
def test_lists_of_many_shapes_agree_with_scikit_learn(length: int, positives: int) -> None:
    generator = np.random.default_rng(length * 1000 + positives)
    for _ in range(20):
        rows = random_rows(generator, length, positives)
        gains, scores = arrays(rows)
        assert judged(rows)["auc"] == pytest.approx(roc_auc_score(gains, scores))
        assert judged(rows)["ndcg@10"] == pytest.approx(ndcg_score([gains], [scores], k=10))


def test_over_many_seeds_ties_average_to_the_tie_aware_values() -> None:
    generator = np.random.default_rng(0)
    for positives in (1, 4, 9):
        rows = random_rows(generator, 14, positives, values=3)
        gains, scores = arrays(rows)
        means = [judged(rows, seed) for seed in range(1500)]
        assert len({row["auc"] for row in means}) > 1
        assert np.mean([row["auc"] for row in means]) == pytest.approx(roc_auc_score(gains, scores), abs=0.02)
        assert np.mean([row["ndcg@10"] for row in means]) == pytest.approx(
            ndcg_score([gains], [scores], k=10), abs=0.03
        )


def test_a_list_of_equal_scores_is_a_coin_flip_whatever_its_order() -> None:
    for positive_first in (True, False):
        rows = [(0.0, positive_first)] * 5 + [(0.0, not positive_first)] * 5
        means = [judged(rows, seed) for seed in range(1500)]
        assert np.mean([row["p@1"] for row in means]) == pytest.approx(0.5, abs=0.05)
        assert np.mean([row["auc"] for row in means]) == pytest.approx(0.5, abs=0.03)


def test_the_seed_decides_how_ties_break() -> None:
    rows = [(0.0, n % 2 == 0) for n in range(20)]
    assert judged(rows, 3) == judged(rows, 3)
    assert judged(rows, 3) != judged(rows, 4)


def test_one_positive_by_hand() -> None:
    third = [(0.9, False), (0.8, False), (0.7, True), (0.6, False)]
    assert judged(third) == pytest.approx(
        {"p@1": 0, "p@3": 1 / 3, "p@3/min": 1, "auc": 1 / 3, "ndcg@10": 1 / np.log2(4), "mrr": 1 / 3}
    )
    first = [(0.9, True), (0.8, False), (0.7, False), (0.6, False)]
    assert judged(first) == pytest.approx({"p@1": 1, "p@3": 1 / 3, "p@3/min": 1, "auc": 1, "ndcg@10": 1, "mrr": 1})


def test_a_positive_below_the_tenth_place_has_no_gain() -> None:
    rows = [(float(-n), n == 10) for n in range(12)]
    assert judged(rows)["ndcg@10"] == 0
    assert judged(rows)["mrr"] == pytest.approx(1 / 11)


def test_lists_are_judged_apart_and_averaged_over_users() -> None:
    generator = np.random.default_rng(1)
    several = [random_rows(generator, length, positives) for length, positives in ((3, 1), (30, 7), (2, 1), (12, 11))]
    counts = [len(rows) for rows in several]
    flat = [row for rows in several for row in rows]
    lists = CandidateLists(
        np.array([2, 3, 5, 8]),
        np.concatenate([[0], np.cumsum(counts)]),
        generator.integers(100, size=sum(counts)),
        np.array([positive for _, positive in flat]),
    )
    judgement = judge(lists, lambda _: np.array([score for score, _ in flat]), 0)
    alone = [judged(rows) for rows in several]
    assert set(judgement.of_L) == set(METRICS)
    for name in METRICS:
        assert judgement.of_L[name] == pytest.approx([row[name] for row in alone])
        assert judgement.means[name] == pytest.approx(np.mean([row[name] for row in alone]))


def test_without_negatives_there_is_precision_and_nothing_to_order() -> None:
    means = judged([(0.2, True), (0.1, True)])
    assert [means["p@1"], means["p@3"], means["p@3/min"]] == pytest.approx([1, 2 / 3, 1])
    assert np.isnan([means["auc"], means["ndcg@10"], means["mrr"]]).all()


def test_means_are_over_the_users_that_a_metric_judges() -> None:
    lists = CandidateLists(np.array([0, 1]), np.array([0, 1, 4]), np.arange(4), np.array([True, False, True, True]))
    means = judge(lists, lambda _: np.array([0.0, 3.0, 2.0, 1.0]), 0).means
    assert means["p@1"] == 0.5
    assert (means["auc"], means["mrr"]) == (0, 0.5)


@pytest.mark.parametrize(("short", "precision"), [(False, [1 / 3, 1 / 3, 2 / 3]), (True, [1, 1 / 2, 2 / 3])])
def test_precision_of_lists_that_hold_less_than_three(short: bool, precision: list[float]) -> None:
    marks = [True, False, True, True, True, False, False]
    lists = CandidateLists(np.arange(3), np.array([0, 1, 3, 7]), np.arange(7), np.array(marks), short)
    judgement = judge(lists, lambda lists: -lists.tweet_C.astype(float), 0)
    assert judgement.of_L["p@3"] == pytest.approx(precision)
    assert judgement.of_L["p@1"].tolist() == [1, 0, 1]


def test_only_the_order_of_scores_counts() -> None:
    rows = random_rows(np.random.default_rng(2), 25, 8)
    assert judged(rows) == judged([(np.exp(3 * score) - 7, positive) for score, positive in rows])


def test_infinite_scores_have_their_place() -> None:
    assert judged([(-np.inf, False), (np.inf, True), (0.0, False)])["auc"] == 1


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(TrainingDiverged, match="lower the learning rate"):
        judged([(0.5, True), (np.nan, False)])
