"""What every system learns from and is judged by: training retweets, follows, content, and the lists to rank.

Shape suffixes: U users, T image tweets, P training retweets (positives), X exposures, L lists, C candidates of all
lists one after another, F features, S sentences, W words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from tokenizers import Tokenizer
from torch import Tensor

from contract.preprocessing import Preprocessing, token_ids
from training.errors import NotEnoughData
from training.indexing import count_up, find, pair_matrix
from training.network import Exposures, Grouped, Ints, Network, Split, group
from training.tokenizer import train_tokenizer, vocabulary_of

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Content:
    """What is in the tweets: dense features float32 [T, F], token ids int64 [T, S, W], and the vocabulary's size.

    None where a network has none of the kind. Dense features are a picture's or, where there is no picture, the text's:
    then `x_is_text`, and a model that reads x has no need of the tokens.
    """

    x_TF: Tensor | None
    token_ids_TSW: Tensor | None
    vocabulary: int
    x_is_text: bool = False
    words: Sequence[str] = ()
    """The vocabulary, in order of token ids."""
    learnt_T: Bools | None = None
    """From which tweets' text the vocabulary was learnt; None: from all."""

    @classmethod
    def of(cls, x_TF: Tensor | None, token_ids_TSW: Ints, vocabulary: int) -> Self:
        """From token ids as the contract makes them."""
        return cls(x_TF, torch.from_numpy(token_ids_TSW), vocabulary)


@dataclass(frozen=True)
class CandidateLists:
    """What each of some users could have retweeted in a period: list l is tweet_C[starts[l]:starts[l + 1]].

    Precision at K is over K or, where `short`, over a list's length if that is less.
    """

    user_L: Ints
    starts: Ints
    tweet_C: Ints
    positive_C: Bools
    short: bool = False

    @property
    def user_C(self) -> Ints:
        """The user whose list it is, for every candidate."""
        return np.repeat(self.user_L, np.diff(self.starts))

    @property
    def list_C(self) -> Ints:
        """The number of its list, for every candidate."""
        return np.repeat(np.arange(len(self.user_L)), np.diff(self.starts))

    def some(self, list_S: Ints) -> Self:
        """Consecutive ones of the lists, by their numbers, int64 [S]; at least one."""
        starts = self.starts[list_S[0] : list_S[-1] + 2]
        of_them = slice(starts[0], starts[-1])
        return replace(
            self,
            user_L=self.user_L[list_S],
            starts=starts - starts[0],
            tweet_C=self.tweet_C[of_them],
            positive_C=self.positive_C[of_them],
        )


@dataclass(frozen=True)
class Problem:
    """One network, one split. `unretweeted` is, by user, what followees showed in training and the user passed by."""

    users: int
    tweets: int
    followees: Grouped
    user_P: Ints
    tweet_P: Ints
    shown_P: Bools
    """Whether a followee had shown it: posted it, or retweeted it before."""
    unretweeted: Grouped
    content: Content
    posted_T: Ints | None
    existing: Ints
    """Tweets that there were by the end of training: what was posted later is no negative of anyone's."""
    validation: CandidateLists
    test: CandidateLists

    @property
    def retweets(self) -> csr_array:
        """How often each user retweeted each tweet in training, float64 [U, T]."""
        return pair_matrix(self.user_P, self.tweet_P, (self.users, self.tweets))

    @property
    def seen_in_training(self) -> Ints:
        """Tweets that were retweeted, or shown and passed by, in training."""
        return np.unique(np.concatenate([self.tweet_P, self.unretweeted.values]))

    @property
    def silent_users(self) -> Ints:
        """Users without a retweet in training."""
        return np.setdiff1d(np.arange(self.users), self.user_P)

    def with_followees(self, users: Ints) -> Ints:
        """Some users and whom those follow."""
        return np.unique(np.concatenate([users, rows_of(self.followees, np.unique(users))[1]]))


def content_of(
    network: Network, x_TF: Tensor | None, before: int, preprocessing: Preprocessing
) -> tuple[Content, Tokenizer]:
    """A network's content, and the tokenizer of its words: those of what was posted before a moment (Unix ms) alone."""
    learnt_T = network.posted_T < before
    tokenizer = train_tokenizer([network.texts[t] for t in np.flatnonzero(learnt_T)])
    ids_TSW = token_ids(tokenizer, network.texts, preprocessing)
    content = Content.of(x_TF, ids_TSW, tokenizer.get_vocab_size())
    return replace(content, words=vocabulary_of(tokenizer), learnt_T=learnt_T), tokenizer


def problem_of(network: Network, exposed: Exposures, split: Split, content: Content) -> Problem:
    """The primary protocol: one global cut in time, in-network lists.

    Raises NotEnoughData where a period is too thin.
    """
    moments = (split.validation_from, split.test_from)
    validation_from_U, test_from_U = (np.full(len(network.user_ids), moment) for moment in moments)
    test = held_out_lists(network, exposed, split)
    return problem_by_user(network, exposed, validation_from_U, test_from_U, content, test)


def held_out_lists(network: Network, exposed: Exposures, split: Split) -> CandidateLists:
    """What is judged: in-network lists of the test period. Raises NotEnoughData where that is too thin."""
    moments = (split.test_from, int(network.retweet_at_R[-1]) + 1)
    return _lists_between(network, exposed, *(np.full(len(network.user_ids), moment) for moment in moments))


def problem_by_user(
    network: Network,
    exposed: Exposures,
    validation_from_U: Ints,
    test_from_U: Ints,
    content: Content,
    test: CandidateLists,
) -> Problem:
    """Training until a moment of each user's (Unix ms), validation on in-network lists from there to the next moment.

    A tweet that the user retweets only later is unretweeted in training like any other: leaving it out would leak the
    test. Raises NotEnoughData where a period is too thin.
    """
    before = network.retweet_at_R < validation_from_U[network.retweet_user_R]
    seen = exposed.at_X < validation_from_U[exposed.user_X]
    user_X, tweet_X = exposed.user_X[seen], exposed.tweet_X[seen]
    passed_by = ~network.retweeted_before(user_X, tweet_X, validation_from_U)
    if not passed_by.any() or not before.any():
        raise NotEnoughData(
            "before the validation period there is no retweet, or no tweet of a followee that was passed by: are there "
            "follows, and, where exposures are logged, any of what followees posted?"
        )
    return Problem(
        users=len(network.user_ids),
        tweets=len(network.tweet_ids),
        followees=network.followees,
        user_P=network.retweet_user_R[before],
        tweet_P=network.retweet_tweet_R[before],
        shown_P=_shown(network, exposed)[before],
        unretweeted=group(user_X[passed_by], tweet_X[passed_by], len(network.user_ids)),
        content=content,
        posted_T=network.posted_T,
        existing=np.flatnonzero(network.posted_T < validation_from_U.max()),
        validation=_lists_between(network, exposed, validation_from_U, test_from_U),
        test=test,
    )


def candidate_lists(user_X: Ints, tweet_X: Ints, positive_X: Bools, users: int) -> CandidateLists:
    """Lists by user, for those who have both a positive and a negative. Raises NotEnoughData where there is none."""
    positives_U = np.bincount(user_X, weights=positive_X, minlength=users)
    judged_X = ((positives_U > 0) & (positives_U < np.bincount(user_X, minlength=users)))[user_X]
    if not judged_X.any():
        raise NotEnoughData(
            "in the period that is judged no user has both retweeted and passed by what followees showed: are there "
            "follows, and, where exposures are logged, any of what followees posted?"
        )
    return lists_by_user(user_X[judged_X], tweet_X[judged_X], positive_X[judged_X])


def lists_by_user(user_X: Ints, tweet_X: Ints, positive_X: Bools, short: bool = False) -> CandidateLists:
    """A list for every user who is there; within a list the order is kept."""
    order = np.argsort(user_X, kind="stable")
    user_L, counts = np.unique(user_X, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return CandidateLists(user_L, starts, tweet_X[order], positive_X[order], short)


def rows_of(grouped: Grouped, rows: Ints) -> tuple[Ints, Ints]:
    """Values of some rows one after another: for each its place in `rows`, and the value."""
    counts = grouped.counts[rows]
    place = np.repeat(np.arange(len(rows)), counts)
    return place, grouped.values[grouped.starts[rows][place] + count_up(counts)]


def _shown(network: Network, exposed: Exposures) -> Bools:
    """Whether each retweet, bool [R], is of something that a followee had shown the user by then."""
    tweets = len(network.tweet_ids)
    key_X = exposed.user_X * tweets + exposed.tweet_X
    key_R = network.retweet_user_R * tweets + network.retweet_tweet_R
    place_R, found_R = find(key_R, key_X)
    found_R[found_R] = exposed.at_X[place_R[found_R]] <= network.retweet_at_R[found_R]
    return found_R


def _lists_between(network: Network, exposed: Exposures, start_U: Ints, end_U: Ints) -> CandidateLists:
    """Exposures of a period of each user's (Unix ms), less what the user had retweeted before, as in service."""
    had_X = network.retweeted_before(exposed.user_X, exposed.tweet_X, start_U)
    inside = (exposed.at_X >= start_U[exposed.user_X]) & (exposed.at_X < end_U[exposed.user_X]) & ~had_X
    user_X, tweet_X = exposed.user_X[inside], exposed.tweet_X[inside]
    positive_X = network.retweeted_before(user_X, tweet_X, end_U)
    return candidate_lists(user_X, tweet_X, positive_X, len(network.user_ids))
