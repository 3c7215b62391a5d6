"""What a run keeps of every user whose list is judged, by which the breakdowns divide."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.problems import checkerboard, keeping, lists_of
from training import reproduce as reproduction
from training.network import group
from training.problem import Problem
from training.reproduce import Run, Sources, make


def uneven() -> Problem:
    """A checkerboard without the first tweets' retweets, or those of user 4; user n follows n of 8, from 8 on all.

    User 2 has no list.
    """
    problem, generator = checkerboard(0), np.random.default_rng(0)
    judged_UT, positive_UT = (generator.random((problem.users, problem.tweets)) < share for share in (0.1, 0.5))
    judged_UT[2] = False
    kept_P = (problem.tweet_P >= 30) & (problem.user_P != 4)
    follower_E = np.repeat(np.arange(problem.users), problem.followees.counts)
    kept_E = np.tile(np.arange(8), problem.users) < follower_E
    return replace(
        keeping(problem, kept_P),
        test=lists_of(judged_UT, positive_UT),
        followees=group(follower_E[kept_E], problem.followees.values[kept_E], problem.users),
    )


def test_a_run_keeps_warm_tweets_history_and_followees_of_every_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, run = uneven(), Run("made", 80, "random", 0)
    monkeypatch.setattr(reproduction, "problem_for", lambda *_: problem)
    make(run, Sources(tmp_path, tmp_path), tmp_path)
    with np.load(tmp_path / run.name / "users.npz") as file:
        kept = dict(file)
    retweeted = problem.tweet_P.tolist()
    lists: dict[int, list[int]] = {}
    for user, tweet in zip(problem.test.user_C.tolist(), problem.test.tweet_C.tolist(), strict=True):
        lists.setdefault(user, []).append(tweet)
    warm = [np.mean([tweet in retweeted for tweet in tweets]) for tweets in lists.values()]
    assert set(lists) == {*range(problem.users)} - {2}
    assert len(set(warm)) > 5
    assert kept["user_L"].tolist() == list(lists)
    assert kept["warm_L"].tolist() == pytest.approx(warm)
    assert kept["history_L"].tolist() == [problem.user_P.tolist().count(user) for user in lists]
    assert kept["followees_L"].tolist() == [min(user, 8) for user in lists]
