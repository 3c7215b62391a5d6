"""Small problems made by hand: networks as matrices of users (U) and tweets (T), and lists to judge."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from training.network import Ints, group
from training.problem import Bools, CandidateLists, Content, Problem, candidate_lists

NO_CONTENT = Content(None, None, 0)


def lists_of(judged_UT: Bools, positive_UT: Bools) -> CandidateLists:
    """A list for every user with judged pairs, whether or not it has both kinds."""
    user_C, tweet_C = np.nonzero(judged_UT)
    user_L, counts_L = np.unique(user_C, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(counts_L)]).astype(np.int64)
    return CandidateLists(user_L, starts, tweet_C, positive_UT[user_C, tweet_C])


def fair_lists(judged_UT: Bools, positive_UT: Bools) -> CandidateLists:
    """A list for every user with judged pairs of both kinds."""
    user_C, tweet_C = np.nonzero(judged_UT)
    return candidate_lists(user_C, tweet_C, positive_UT[user_C, tweet_C], len(judged_UT))


def one_list(scores_and_positives: Sequence[tuple[float, bool]]) -> tuple[CandidateLists, list[float]]:
    """A single user's list and the scores of its candidates."""
    positive_C = np.array([positive for _, positive in scores_and_positives])
    lists = CandidateLists(np.array([0]), np.array([0, len(positive_C)]), np.arange(len(positive_C)), positive_C)
    return lists, [score for score, _ in scores_and_positives]


def problem_of_matrices(
    follows_UU: Bools,
    retweeted_UT: Bools,
    shown_UT: Bools,
    test: CandidateLists,
    validation: CandidateLists | None = None,
    content: Content = NO_CONTENT,
) -> Problem:
    """Retweets and exposures of the training period, and lists; validation is on the test's lists unless said."""
    users, tweets = retweeted_UT.shape
    user_E, followee_E = np.nonzero(follows_UU)
    user_P, tweet_P = np.nonzero(retweeted_UT)
    user_X, tweet_X = np.nonzero(shown_UT & ~retweeted_UT)
    return Problem(
        users=users,
        tweets=tweets,
        followees=group(user_E, followee_E, users),
        user_P=user_P,
        tweet_P=tweet_P,
        shown_P=shown_UT[user_P, tweet_P],
        unretweeted=group(user_X, tweet_X, users),
        content=content,
        posted_T=None,
        existing=np.arange(tweets),
        validation=test if validation is None else validation,
        test=test,
    )


def shown_by_followees(follows_UU: Bools, retweeted_UT: Bools) -> Bools:
    """What at least one followee retweeted."""
    shown_UT: Bools = (follows_UU.astype(int) @ retweeted_UT.astype(int)) > 0
    return shown_UT


def checkerboard(seed: int, users: int = 40, tweets: int = 80, followees: int = 8, new: bool = False) -> Problem:
    """Users and tweets of two colours; a user retweets most tweets of the own colour and none of the other.

    A fifth of the pairs is held out, half of it for validation; where `new`, two fifths of the tweets with all their
    retweets. Otherwise held-out retweets are negatives in training like anything else that was shown. Features and
    words carry a tweet's colour.
    """
    generator = np.random.default_rng(seed)
    colour_U, colour_T = np.arange(users) % 2, generator.permutation(np.arange(tweets) % 2)
    taste_UT = (colour_U[:, None] == colour_T) & (generator.random((users, tweets)) < 0.97)
    follows_UU = np.zeros((users, users), dtype=bool)
    for user in range(users):
        others = np.delete(np.arange(users), user)
        follows_UU[user, generator.choice(others, followees, replace=False)] = True
    held_UT = _share(generator, 0.4 if new else 0.2, users, tweets, new)
    retweeted_UT = taste_UT & ~held_UT
    shown_UT = shown_by_followees(follows_UU, retweeted_UT)
    of_test_UT = _share(generator, 0.5, users, tweets, new)
    judged_UT = held_UT if new else held_UT & shown_UT
    return problem_of_matrices(
        follows_UU,
        retweeted_UT,
        shown_UT,
        test=fair_lists(judged_UT & of_test_UT, taste_UT),
        validation=fair_lists(judged_UT & ~of_test_UT, taste_UT),
        content=_coloured(colour_T, generator),
    )


def _share(generator: np.random.Generator, share: float, users: int, tweets: int, whole: bool) -> Bools:
    """A share of all pairs, or of all tweets with all their pairs."""
    drawn_UT: Bools = generator.random((1 if whole else users, tweets)) < share
    return np.broadcast_to(drawn_UT, (users, tweets))


def _coloured(colour_T: np.ndarray, generator: np.random.Generator) -> Content:
    """Two features of six lean to the colour; of three words one is of the colour and the others of none."""
    tweets = len(colour_T)
    x_TF = generator.normal(size=(tweets, 6))
    x_TF[:, :2] += 3 * (2 * colour_T[:, None] - 1)
    word_TW = np.stack([2 + 3 * colour_T + generator.integers(3, size=tweets), *generator.integers(8, 12, (2, tweets))])
    ids_TSW = np.zeros((tweets, 2, 4), dtype=np.int64)
    ids_TSW[:, 0, :3] = generator.permuted(word_TW.T, axis=1)
    return Content.of(torch.from_numpy(x_TF.astype(np.float32)), ids_TSW, 12)


def without_content(problem: Problem) -> Problem:
    return replace(problem, content=NO_CONTENT)


def reading(problem: Problem, what: str) -> Problem:
    """With its pictures alone, its words alone, or both."""
    content = problem.content
    x_TF = None if what == "words" else content.x_TF
    ids_TSW = None if what == "pictures" else content.token_ids_TSW
    return replace(problem, content=Content(x_TF, ids_TSW, content.vocabulary))


def with_permuted_content(problem: Problem, seed: int) -> Problem:
    """Every tweet shows another's picture and words."""
    content = problem.content
    order = torch.from_numpy(np.random.default_rng(seed).permutation(problem.tweets))
    x_TF = None if content.x_TF is None else content.x_TF[order]
    ids_TSW = None if content.token_ids_TSW is None else content.token_ids_TSW[order]
    return replace(problem, content=Content(x_TF, ids_TSW, content.vocabulary))


LEADERS, FOLLOWEES = 12, 4


def one_true_followee(seed: int, followers: int = 120, tweets: int = 120) -> tuple[Problem, Ints]:
    """Followers have the taste of one of the four leaders they follow; the number of that leader for each, [followers].

    Leaders have random tastes and long histories. Followers have four retweets each, and saw a third of what their
    followees retweeted; the rest is judged.
    """
    generator = np.random.default_rng(seed)
    taste_LT = generator.random((LEADERS, tweets)) < 0.3
    followees_FN = np.stack([generator.choice(LEADERS, FOLLOWEES, replace=False) for _ in range(followers)])
    true_F = followees_FN[:, 0]
    taste_UT = np.concatenate([taste_LT, taste_LT[true_F]])
    follows_UU = np.zeros((len(taste_UT), len(taste_UT)), dtype=bool)
    follows_UU[np.arange(LEADERS, len(taste_UT))[:, None], followees_FN] = True
    retweeted_UT = np.zeros_like(taste_UT)
    retweeted_UT[:LEADERS] = taste_LT
    for user in range(LEADERS, len(taste_UT)):
        retweeted_UT[user, generator.choice(np.flatnonzero(taste_UT[user]), 4, replace=False)] = True
    showable_UT = shown_by_followees(follows_UU, retweeted_UT)
    seen_UT = retweeted_UT | (generator.random(taste_UT.shape) < 0.3)
    judged_UT, of_test_UT = showable_UT & ~seen_UT, generator.random(taste_UT.shape) < 0.5
    shown_UT = showable_UT & seen_UT
    shown_UT[:LEADERS] = True
    test, validation = (fair_lists(judged_UT & period_UT, taste_UT) for period_UT in (of_test_UT, ~of_test_UT))
    return problem_of_matrices(follows_UU, retweeted_UT, shown_UT, test, validation), true_F


def keeping(problem: Problem, kept_P: Bools) -> Problem:
    """The problem with some of its training retweets."""
    return replace(
        problem,
        user_P=problem.user_P[kept_P],
        tweet_P=problem.tweet_P[kept_P],
        shown_P=problem.shown_P[kept_P],
    )
