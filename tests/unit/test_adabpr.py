import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from tests.problems import lists_of, problem_of_matrices
from training.baselines.adabpr import AdaptiveSampler, truncated_exponential
from training.factors import Factors, IdItems
from training.network import Ints
from training.problem import Bools, Floats
from training.sampling import triple_sampler

USERS, TWEETS, DIM = 10, 80, 3


def sampler(seed: int = 0, rank_scale: float = 4.0) -> tuple[AdaptiveSampler, Bools]:
    generator = np.random.default_rng(seed)
    retweeted_UT = generator.random((USERS, TWEETS)) < 0.15
    every_UT = np.ones_like(retweeted_UT)
    follows_UU = np.zeros((USERS, USERS), dtype=bool)
    problem = problem_of_matrices(follows_UU, retweeted_UT, every_UT, lists_of(every_UT, retweeted_UT))
    torch.manual_seed(seed)
    items = IdItems(TWEETS, DIM, 1.0)
    model = Factors(USERS, DIM, 1.0, items, 0.0)
    return AdaptiveSampler(triple_sampler(problem, "uniform"), model, items, rank_scale), retweeted_UT


def law(scale: float, count: int) -> Floats:
    weight = np.exp(-np.arange(count) / scale)
    share: Floats = weight / weight.sum()
    return share


def counts(drawn: Ints, count: int) -> Floats:
    return np.bincount(drawn.ravel(), minlength=count).astype(float)


def draw_many(adaptive: AdaptiveSampler, u_D: list[float], sigma_D: list[float], times: int = 200_000) -> Ints:
    best_first_DT, _ = adaptive.sorted()
    u_BD = np.array([u_D] * (times // 4))
    return adaptive.draw(u_BD, best_first_DT, np.array(sigma_D), 4, np.random.default_rng(0)).ravel()


@pytest.mark.parametrize(("scale", "count"), [(3.0, 12), (40.0, 30), (500.0, 20), (0.7, 9)])
def test_sampled_ranks_fall_off_exponentially(scale: float, count: int) -> None:
    drawn = truncated_exponential(scale, count, (400, 500), np.random.default_rng(1))
    assert drawn.shape == (400, 500)
    assert 0 <= drawn.min() <= drawn.max() < count
    expected = law(scale, count) * drawn.size
    seen = expected >= 5
    observed = counts(drawn, count)
    assert observed[~seen].sum() < 50
    assert chisquare(observed[seen], expected[seen], sum_check=False).pvalue > 1e-3


def test_ranks_are_far_from_uniform() -> None:
    drawn = truncated_exponential(4.0, 80, (100_000,), np.random.default_rng(0))
    assert (drawn < 4).mean() == pytest.approx(1 - np.exp(-1), abs=0.01)


def test_ranks_fall_off_exponentially_through_the_draw_too() -> None:
    adaptive, _ = sampler()
    best_first_DT, _ = adaptive.sorted()
    liked = counts(draw_many(adaptive, [0, 2.0, 0], [1, 1, 1]), TWEETS)
    disliked = counts(draw_many(adaptive, [0, -2.0, 0], [1, 1, 1]), TWEETS)
    expected = law(4.0, TWEETS) * 200_000
    head = slice(0, 30)
    assert chisquare(liked[best_first_DT[1]][head], expected[head], sum_check=False).pvalue > 1e-3
    assert chisquare(disliked[best_first_DT[1][::-1]][head], expected[head], sum_check=False).pvalue > 1e-3


def test_the_order_on_a_factor_is_from_high_to_low() -> None:
    adaptive, _ = sampler()
    best_first_DT, sigma_D = adaptive.sorted()
    v_TD = adaptive.items.vectors.weight.detach().numpy()
    for factor in range(DIM):
        assert (np.diff(v_TD[best_first_DT[factor], factor]) <= 0).all()
        assert sorted(best_first_DT[factor].tolist()) == list(range(TWEETS))
    assert sigma_D == pytest.approx(v_TD.std(axis=0))


def test_factors_are_drawn_by_the_user_s_weight_times_the_spread() -> None:
    """With ranks of 0 alone, the tweet that is drawn tells the factor."""
    adaptive, _ = sampler(rank_scale=1e-3)
    best_first_DT, _ = adaptive.sorted()
    u_D, sigma_D = [0.5, -2.0, 1.0], [3.0, 0.5, 2.0]
    extreme_D = [best_first_DT[0][0], best_first_DT[1][-1], best_first_DT[2][0]]
    assert len(set(extreme_D)) == DIM
    drawn = draw_many(adaptive, u_D, sigma_D)
    weight_D = np.abs(u_D) * sigma_D
    share_D = [(drawn == tweet).mean() for tweet in extreme_D]
    assert sum(share_D) == 1
    assert share_D == pytest.approx(weight_D / weight_D.sum(), abs=0.005)


def test_each_user_of_a_batch_has_the_own_factors() -> None:
    adaptive, _ = sampler(rank_scale=1e-3)
    best_first_DT, _ = adaptive.sorted()
    u_BD = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    drawn_BK = adaptive.draw(u_BD, best_first_DT, np.ones(DIM), 2, np.random.default_rng(0))
    tops = [best_first_DT[0][0], best_first_DT[2][-1], best_first_DT[1][0]]
    assert drawn_BK.tolist() == [[tweet, tweet] for tweet in tops]


def test_a_user_whose_vector_is_zero_still_gets_negatives() -> None:
    adaptive, _ = sampler()
    drawn = draw_many(adaptive, [0, 0, 0], [1, 1, 1], times=40)
    assert ((drawn >= 0) & (drawn < TWEETS)).all()


def test_batches_never_yield_a_positive_and_prefer_what_the_model_ranks_high() -> None:
    adaptive, retweeted_UT = sampler()
    u_UD = adaptive.model.users.weight.detach().numpy()
    score_UT = u_UD @ adaptive.items.vectors.weight.detach().numpy().T
    above_UT = score_UT > np.median(score_UT, axis=1, keepdims=True)
    above = []
    for epoch in range(100):
        for user_B, positive_B, negative_BK in adaptive.batches(32, 2, 0, epoch):
            assert retweeted_UT[user_B, positive_B].all()
            assert not retweeted_UT[user_B[:, None], negative_BK].any()
            above.append(above_UT[user_B[:, None], negative_BK].mean())
    assert np.mean(above) > 0.75


def test_seed_and_epoch_decide_the_batches() -> None:
    def epoch(seed: int, number: int) -> list[list[int]]:
        return [array.ravel().tolist() for batch in sampler()[0].batches(32, 2, seed, number) for array in batch]

    assert epoch(0, 1) == epoch(0, 1)
    assert epoch(0, 1) != epoch(0, 2)
    assert epoch(0, 1) != epoch(1, 1)


def test_tweets_are_sorted_again_as_the_model_learns() -> None:
    """After T ln T draws the negatives follow the model's new order, here its opposite."""
    adaptive, _ = sampler(rank_scale=1e-3)
    weight = adaptive.items.vectors.weight
    batches = adaptive.batches(8, 16, 0, 0)
    next(batches)
    best_first_DT, _ = adaptive.sorted()
    stale = set(best_first_DT[:, [0, -1]].ravel().tolist())
    with torch.no_grad():
        weight.copy_(weight[torch.from_numpy(np.random.default_rng(5).permutation(TWEETS))])
    best_first_DT, _ = adaptive.sorted()
    fresh = set(best_first_DT[:, [0, -1]].ravel().tolist())
    share = [
        (np.isin(negative_BK, list(stale)).mean(), np.isin(negative_BK, list(fresh)).mean())
        for _, _, negative_BK in batches
    ]
    until = int(np.ceil(TWEETS * np.log(TWEETS) / (8 * 16))) - 1
    assert all(old > new for old, new in share[:until])
    assert all(new > old for old, new in share[until:])
