from collections.abc import Iterator

import numpy as np
import pytest

from tests.problems import lists_of, problem_of_matrices
from training.errors import NotEnoughData
from training.network import Ints
from training.problem import Bools, Problem
from training.sampling import triple_sampler
from training.settings import Negatives

USERS, TWEETS = 12, 60
NEGATIVES: list[Negatives] = ["followees", "matched", "uniform"]
NO_FOLLOWS = np.zeros((USERS, USERS), dtype=bool)


def network(seed: int = 0) -> tuple[Problem, Bools, Bools]:
    """A problem, who retweeted what, and who was shown what; the last user was shown only what it retweeted."""
    generator = np.random.default_rng(seed)
    retweeted_UT = generator.random((USERS, TWEETS)) < 0.15
    shown_UT = generator.random((USERS, TWEETS)) < 0.4
    retweeted_UT[-1, 0] = True
    shown_UT[-1] = retweeted_UT[-1]
    return of(retweeted_UT, shown_UT), retweeted_UT, shown_UT


def of(retweeted_UT: Bools, shown_UT: Bools) -> Problem:
    """Half of what was shown and not retweeted is retweeted later: the positives of the test."""
    later_UT = (shown_UT & ~retweeted_UT) & (np.arange(TWEETS) % 2 == 0)
    return problem_of_matrices(NO_FOLLOWS, retweeted_UT, shown_UT, lists_of(shown_UT & ~retweeted_UT, later_UT))


def drawn(problem: Problem, negatives: Negatives, epochs: int = 20) -> Iterator[tuple[int, int, Ints]]:
    """Single triples of some epochs."""
    sampler = triple_sampler(problem, negatives)
    for epoch in range(epochs):
        for user_B, positive_B, negative_BK in sampler.batches(16, 3, 0, epoch):
            yield from zip(user_B.tolist(), positive_B.tolist(), negative_BK, strict=True)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_an_epoch_has_every_retweet_once(negatives: Negatives) -> None:
    problem, retweeted_UT, _ = network()
    expected_UT = retweeted_UT.copy()
    if negatives == "followees":
        expected_UT[-1] = False
    pairs = [(user, positive) for user, positive, _ in drawn(problem, negatives, epochs=1)]
    assert sorted(pairs) == sorted(zip(*(place.tolist() for place in np.nonzero(expected_UT)), strict=True))


def test_negatives_of_followees_were_shown_and_passed_by() -> None:
    problem, retweeted_UT, shown_UT = network()
    reached: set[tuple[int, int]] = set()
    for user, _, negative_K in drawn(problem, "followees", epochs=60):
        assert shown_UT[user, negative_K].all()
        assert not retweeted_UT[user, negative_K].any()
        reached |= {(user, tweet) for tweet in negative_K.tolist()}
    assert reached == set(zip(*(place.tolist() for place in np.nonzero(shown_UT & ~retweeted_UT)), strict=True))


def test_uniform_negatives_are_any_tweet_but_a_positive_equally_often() -> None:
    problem, retweeted_UT, _ = network()
    count_UT = np.zeros((USERS, TWEETS))
    for user, _, negative_K in drawn(problem, "uniform", epochs=400):
        np.add.at(count_UT[user], negative_K, 1)
    assert not count_UT[retweeted_UT].any()
    share_UT = count_UT / count_UT.sum(axis=1, keepdims=True) * (~retweeted_UT).sum(axis=1, keepdims=True)
    busy_U = count_UT.sum(axis=1) > 8_000
    assert busy_U.any()
    assert np.abs(share_UT[busy_U] - 1)[~retweeted_UT[busy_U]].max() < 0.5


def test_matched_negatives_come_from_where_their_positive_does() -> None:
    problem, retweeted_UT, shown_UT = network()
    unshown = []
    for user, positive, negative_K in drawn(problem, "matched", epochs=40):
        assert not retweeted_UT[user, negative_K].any()
        if shown_UT[user, positive] and user != USERS - 1:
            assert shown_UT[user, negative_K].all()
        elif user != USERS - 1:
            unshown.append((~shown_UT[user, negative_K]).mean())
    assert np.mean(unshown) == pytest.approx((~shown_UT).mean(), abs=0.05)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_what_is_retweeted_only_later_is_a_negative_as_often_as_the_rest(negatives: Negatives) -> None:
    problem, _, shown_UT = network()
    later = {
        (user, tweet)
        for user, tweet, positive in zip(
            problem.test.user_C.tolist(), problem.test.tweet_C.tolist(), problem.test.positive_C, strict=True
        )
        if positive
    }
    of_later = of_shown = 0
    for user, _, negative_K in drawn(problem, negatives, epochs=40):
        of_shown += int(shown_UT[user, negative_K].sum())
        of_later += sum((user, tweet) in later for tweet in negative_K.tolist())
    assert of_later / of_shown == pytest.approx(problem.test.positive_C.mean(), abs=0.06)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_seed_and_epoch_decide_an_epoch(negatives: Negatives) -> None:
    sampler = triple_sampler(network()[0], negatives)

    def epoch(seed: int, number: int) -> list[list[int]]:
        return [array.ravel().tolist() for batch in sampler.batches(16, 3, seed, number) for array in batch]

    assert epoch(0, 4) == epoch(0, 4)
    assert epoch(0, 4) != epoch(0, 5)
    assert epoch(0, 4) != epoch(1, 4)


def test_batches_have_the_size_asked_for() -> None:
    problem = network()[0]
    shapes = [negative_BK.shape for *_, negative_BK in triple_sampler(problem, "uniform").batches(16, 5, 0, 0)]
    assert shapes[:-1] == [(16, 5)] * (len(problem.user_P) // 16)
    assert shapes[-1] == (len(problem.user_P) % 16, 5)


def test_a_network_where_nothing_was_passed_by_has_no_negatives_of_followees() -> None:
    _, retweeted_UT, shown_UT = network()
    with pytest.raises(NotEnoughData, match="no user has both a retweet and an unretweeted tweet"):
        triple_sampler(of(retweeted_UT, shown_UT & retweeted_UT), "followees")


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_a_network_without_retweets_has_no_triples(negatives: Negatives) -> None:
    _, retweeted_UT, shown_UT = network()
    with pytest.raises(NotEnoughData):
        triple_sampler(of(np.zeros_like(retweeted_UT), shown_UT), negatives)
