"""The image retweet network as arrays (section 2): follows, image tweets, retweets, exposures, the split by time.

Shape suffixes: U users, T image tweets, R retweets in order of time, E follow edges, X exposures.
Users and tweets are numbered in the order of their ids. Times are Unix milliseconds, int64.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVarTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import aliased

from contract.artifact import DataSnapshot
from contract.graph import to_ms
from contract.tables import Follow, Retweet, Tweet, User
from contract.transactions import STAYS
from training.dump import snapshot
from training.errors import NotEnoughData

Ints = npt.NDArray[np.int64]
Columns = TypeVarTuple("Columns")

MIN_RETWEETS = 20


@dataclass(frozen=True)
class Grouped:
    """Ragged rows in one array: row r is values[starts[r]:starts[r + 1]] (compressed sparse rows)."""

    starts: Ints
    values: Ints

    def __getitem__(self, row: int) -> Ints:
        return self.values[self.starts[row] : self.starts[row + 1]]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def counts(self) -> Ints:
        """Length of every row."""
        return np.diff(self.starts)


def group(rows: Ints, values: Ints, row_count: int) -> Grouped:
    """Collect values by row; within a row their order is kept."""
    order = np.argsort(rows, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=row_count))]).astype(np.int64)
    return Grouped(starts, values[order])


@dataclass(frozen=True)
class Network:
    """Users follow users; users post image tweets and retweet them."""

    user_ids: list[str]
    tweet_ids: list[str]
    texts: list[str]
    image_keys: list[str]
    author_T: Ints
    posted_T: Ints
    followees: Grouped
    retweet_user_R: Ints
    retweet_tweet_R: Ints
    retweet_at_R: Ints

    def retweeted_before(self, user_X: Ints, tweet_X: Ints, moment_U: Ints) -> npt.NDArray[np.bool_]:
        """Whether each user had retweeted each tweet before the user's moment (Unix ms), bool [X]."""
        tweets, before_R = len(self.tweet_ids), self.retweet_at_R < moment_U[self.retweet_user_R]
        return np.isin(user_X * tweets + tweet_X, (self.retweet_user_R * tweets + self.retweet_tweet_R)[before_R])

    def snapshot(self) -> DataSnapshot:
        """Counts, time range and a digest that tells one state of the network from another."""
        digest = hashlib.sha256()
        for ids in (self.user_ids, self.tweet_ids, self.texts, self.image_keys):
            digest.update("\0".join(ids).encode())
        for array in (
            self.author_T,
            self.posted_T,
            self.followees.starts,
            self.followees.values,
            self.retweet_user_R,
            self.retweet_tweet_R,
            self.retweet_at_R,
        ):
            digest.update(array.astype("<i8").tobytes())
        return DataSnapshot(
            users=len(self.user_ids),
            follows=len(self.followees.values),
            tweets=len(self.tweet_ids),
            retweets=len(self.retweet_at_R),
            first_retweet_at=_moment(self.retweet_at_R[0]),
            last_retweet_at=_moment(self.retweet_at_R[-1]),
            last_tweet_at=_moment(self.posted_T.max()),
            digest=digest.hexdigest(),
        )


@dataclass(frozen=True)
class Exposures:
    """The first time that each user could see each tweet of others: a followee posted or retweeted it."""

    user_X: Ints
    tweet_X: Ints
    at_X: Ints


@dataclass(frozen=True)
class Split:
    """Moments that part training, validation and test (global in time)."""

    validation_from: int
    test_from: int


async def load_network(engine: AsyncEngine) -> Network:
    """Read the network from SQL, without users who are being deleted.

    Raises NotEnoughData where there are fewer than MIN_RETWEETS retweets.
    """
    tweet = select(Tweet.tweet_id, Tweet.author_id, Tweet.text, Tweet.image_key, Tweet.created_at)
    follow = select(Follow.follower_id, Follow.followee_id)
    retweet = select(Retweet.user_id, Retweet.tweet_id, Retweet.created_at).join(Tweet)
    async with snapshot(engine) as connection:
        return build_network(
            await connection.scalars(select(User.user_id).where(STAYS)),
            await connection.execute(_by_who_stays(tweet, Tweet.author_id)),
            await connection.execute(_by_who_stays(follow, Follow.follower_id, Follow.followee_id)),
            await connection.execute(_by_who_stays(retweet, Retweet.user_id, Tweet.author_id)),
        )


def _by_who_stays(rows: Select[*Columns], *user_ids: Any) -> Select[*Columns]:
    """Joined to the users, not by IN: SQLite would look for every pair of a user and a tweet."""
    for user_id in user_ids:
        user = aliased(User)
        rows = rows.join(user, user.user_id == user_id).where(user.leaving_at.is_(None))
    return rows


def build_network(
    users: Iterable[str],
    tweets: Iterable[tuple[str, str, str, str, datetime]],
    follows: Iterable[tuple[str, str]],
    retweets: Iterable[tuple[str, str, datetime]],
) -> Network:
    """The arrays of ids, (id, author, text, image key, time), (follower, followee) and (user, tweet, time).

    Everything is sorted here, since databases sort text by different rules and files stand in any order.
    Raises NotEnoughData where there are fewer than MIN_RETWEETS retweets.
    """
    user_ids = sorted(users)
    tweet_rows = sorted(tweets)
    user_of = {user_id: number for number, user_id in enumerate(user_ids)}
    tweet_of = {row[0]: number for number, row in enumerate(tweet_rows)}
    edges = sorted((user_of[follower], user_of[followee]) for follower, followee in follows)
    events = sorted((to_ms(at), user_of[user], tweet_of[tweet]) for user, tweet, at in retweets)
    if len(events) < MIN_RETWEETS:
        raise NotEnoughData(
            f"the network has {len(events)} retweets; at least {MIN_RETWEETS} are needed: import or record more"
        )
    edge_E2 = np.array(edges, dtype=np.int64).reshape(-1, 2)
    event_R3 = np.array(events, dtype=np.int64).reshape(-1, 3)
    return Network(
        user_ids=user_ids,
        tweet_ids=[row[0] for row in tweet_rows],
        texts=[row[2] for row in tweet_rows],
        image_keys=[row[3] for row in tweet_rows],
        author_T=np.array([user_of[row[1]] for row in tweet_rows], dtype=np.int64),
        posted_T=np.array([to_ms(row[4]) for row in tweet_rows], dtype=np.int64),
        followees=group(edge_E2[:, 0], edge_E2[:, 1], len(user_ids)),
        retweet_user_R=event_R3[:, 1],
        retweet_tweet_R=event_R3[:, 2],
        retweet_at_R=event_R3[:, 0],
    )


def split_by_time(network: Network, test_share: float, validation_share: float) -> Split:
    """Cut so that `test_share` of all retweets is test and the last `validation_share` of training time validation."""
    test_from = int(np.quantile(network.retweet_at_R, 1 - test_share))
    first = int(network.retweet_at_R[0])
    return Split(validation_from=round(test_from - validation_share * (test_from - first)), test_from=test_from)


def exposures(network: Network) -> Exposures:
    """Every (user, tweet) once, at the first moment a followee posted or retweeted it, in order of user and tweet.

    What the user had retweeted before that is left out: a followee who took it from the user shows the user nothing,
    and would bring into the lists retweets of what the network had not shown, and no passing by of the like.
    """
    owner = np.concatenate([network.author_T, network.retweet_user_R])
    tweet = np.concatenate([np.arange(len(network.tweet_ids)), network.retweet_tweet_R])
    at = np.concatenate([network.posted_T, network.retweet_at_R])
    followers = _followers(network)
    count = followers.counts[owner]
    user_X = np.concatenate([followers[int(q)] for q in owner]) if len(owner) else np.empty(0, np.int64)
    tweet_X, at_X = np.repeat(tweet, count), np.repeat(at, count)
    others = network.author_T[tweet_X] != user_X
    exposed = first_exposures(user_X[others], tweet_X[others], at_X[others])
    shown_X = exposed.at_X <= _first_retweets(network, exposed.user_X, exposed.tweet_X)
    return Exposures(exposed.user_X[shown_X], exposed.tweet_X[shown_X], exposed.at_X[shown_X])


def first_exposures(user_X: Ints, tweet_X: Ints, at_X: Ints) -> Exposures:
    """Keep the first time of every (user, tweet), in order of user and tweet."""
    order = np.lexsort((at_X, tweet_X, user_X))
    user_X, tweet_X, at_X = user_X[order], tweet_X[order], at_X[order]
    first = np.ones(len(user_X), dtype=bool)
    first[1:] = (np.diff(user_X) != 0) | (np.diff(tweet_X) != 0)
    return Exposures(user_X[first], tweet_X[first], at_X[first])


def _first_retweets(network: Network, user_X: Ints, tweet_X: Ints) -> Ints:
    """When each user first retweeted each tweet (Unix ms), [X]; the end of time for never."""
    tweets = len(network.tweet_ids)
    key_R = network.retweet_user_R * tweets + network.retweet_tweet_R
    key_N, first_N = np.unique(key_R, return_index=True)  # retweets are in order of time
    key_X = user_X * tweets + tweet_X
    place_X = np.searchsorted(key_N, key_X).clip(max=len(key_N) - 1)
    at_X = network.retweet_at_R[first_N[place_X]]
    return np.where(key_N[place_X] == key_X, at_X, np.iinfo(np.int64).max)


def _followers(network: Network) -> Grouped:
    users = len(network.user_ids)
    follower_E = np.repeat(np.arange(users), network.followees.counts)
    return group(network.followees.values, follower_E, users)


def _moment(ms: np.int64) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, tz=UTC)
