"""A problem from who liked what and who follows whom, where no one logged what was shown.

A user's list is what a followee liked in training and the user had not. Shape suffixes: U users, T items, P training
likes, X pairs of a user and an item that a followee liked.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from training.indexing import among, entries, grouped_matrix, pair_matrix, rank_within
from training.network import Grouped, Ints
from training.problem import Bools, CandidateLists, Content, Problem, candidate_lists


@dataclass(frozen=True)
class Likes:
    """Users and items of likes, [P] each."""

    user_P: Ints
    item_P: Ints


def problem_of_likes(
    users: int,
    items: int,
    followees: Grouped,
    train: Likes,
    validation: Likes,
    test: Likes,
    content: Content,
    cap: "NegativeCap | None",
) -> Problem:
    """Lists of what followees liked in training and the user had not liked before the period.

    What the user likes only in the test period is a negative on the validation lists: nobody knew. `cap` bounds a
    list's negatives, None keeps all of them.
    """
    user_X, item_X = shown(followees, train, users, items)
    key_X = user_X * items + item_X
    shown_P = among(train.user_P * items + train.item_P, key_X)
    fresh_X = ~_marked(key_X, train, items)
    user_X, item_X, key_X = user_X[fresh_X], item_X[fresh_X], key_X[fresh_X]
    validation_X, test_X = _marked(key_X, validation, items), _marked(key_X, test, items)

    def lists(positive_X: Bools, kept_X: Bools) -> CandidateLists:
        if cap is not None:
            kept_X = kept_X & cap.keep(user_X, positive_X, kept_X, users)
        return candidate_lists(user_X[kept_X], item_X[kept_X], positive_X[kept_X], users)

    return Problem(
        users=users,
        tweets=items,
        followees=followees,
        user_P=train.user_P,
        tweet_P=train.item_P,
        shown_P=shown_P,
        unretweeted=Grouped(np.searchsorted(user_X, np.arange(users + 1)).astype(np.int64), item_X),
        content=content,
        posted_T=None,
        existing=np.arange(items),
        validation=lists(validation_X, np.ones(len(user_X), dtype=bool)),
        test=lists(test_X, ~validation_X | test_X),
    )


@dataclass(frozen=True)
class NegativeCap:
    """At most `times` negatives a positive and `more` beside, drawn by the seed."""

    times: int
    more: int
    seed: int

    def keep(self, user_X: Ints, positive_X: Bools, eligible_X: Bools, users: int) -> Bools:
        """Positives, and the drawn negatives, bool [X]."""
        positives_U = np.bincount(user_X, weights=positive_X & eligible_X, minlength=users).astype(np.int64)
        draw_X = np.where(eligible_X & ~positive_X, np.random.default_rng(self.seed).random(len(user_X)), np.inf)
        cap_U = self.times * positives_U + self.more
        kept: Bools = positive_X | ((rank_within(user_X, draw_X) < cap_U[user_X]) & np.isfinite(draw_X))
        return kept


def shown(followees: Grouped, likes: Likes, users: int, items: int) -> tuple[Ints, Ints]:
    """Distinct pairs of a user and an item that a followee liked, in order of user and item."""
    liked = pair_matrix(likes.user_P, likes.item_P, (users, items))
    user_X, item_X, _ = entries(csr_array(grouped_matrix(followees, users) @ liked))
    return user_X, item_X


def _marked(key_X: Ints, likes: Likes, items: int) -> Bools:
    """Which of the sorted, distinct keys are likes, bool [X]."""
    key_P = np.unique(likes.user_P * items + likes.item_P)
    marked_X = np.zeros(len(key_X), dtype=bool)
    marked_X[np.searchsorted(key_X, key_P[among(key_P, key_X)])] = True
    return marked_X
