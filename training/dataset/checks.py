"""Checks of a row against the tables before it and against what the database has."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from contract.graph import MOST_FOLLOWEES, to_ms
from contract.ids import id_hash
from training.dataset.rejects import Rejects
from training.dataset.rows import (
    DeletedTweetRow,
    ExposureRow,
    FollowRow,
    HideRow,
    Key,
    RetweetRow,
    TweetRow,
    UserRow,
)


class KnownTweet(NamedTuple):
    """A tweet that the database has."""

    author_id: str
    text: str
    image_key: str
    created_at: datetime


@dataclass
class Known:
    """What the database has already, by key; rows may refer to it."""

    users: set[Key] = field(default_factory=set)
    follows: set[Key] = field(default_factory=set)
    tweets: dict[Key, KnownTweet] = field(default_factory=dict)
    retweets: set[Key] = field(default_factory=set)
    hides: set[Key] = field(default_factory=set)
    deleted_tweets: set[Key] = field(default_factory=set)
    deleted_users: set[str] = field(default_factory=set)
    """Hashes of their ids."""


class BadRow(Exception):
    """A check's answer: the field (None: the whole row) and the reason with its fix."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.field, self.reason = field, reason


@dataclass
class Check:
    """Checks of a row against the tables before it."""

    known: Known
    rejects: Rejects
    users: dict[Key, UserRow] = field(default_factory=dict)
    tweets: dict[Key, TweetRow] = field(default_factory=dict)
    followees: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        self.followees = Counter(follower_id for follower_id, _ in self.known.follows)

    def user(self, row: UserRow) -> None:
        if id_hash(row.user_id) in self.known.deleted_users:
            raise BadRow("user_id", user_was_deleted(row.user_id))

    def follow(self, row: FollowRow) -> None:
        self._user("follower_id", row.follower_id)
        self._user("followee_id", row.followee_id)
        if row.follower_id == row.followee_id:
            raise BadRow("followee_id", "is the follower_id; nobody follows themselves: remove the row")
        if row.key not in self.known.follows:
            if self.followees[row.follower_id] >= MOST_FOLLOWEES:
                raise BadRow(
                    "follower_id", f"{row.follower_id} follows {MOST_FOLLOWEES:,} users already: remove the row"
                )
            self.followees[row.follower_id] += 1

    def tweet(self, row: TweetRow) -> None:
        self._user("author_id", row.author_id)
        if row.key in self.known.deleted_tweets:
            raise BadRow("tweet_id", was_deleted(row.tweet_id))

    def deleted_tweet(self, row: DeletedTweetRow) -> None:
        if row.key in self.tweets:
            raise BadRow("tweet_id", f"{row.tweet_id} is in tweets, too: remove one of the two rows")
        if row.key in self.known.tweets:
            raise BadRow("tweet_id", still_there(row.tweet_id))

    def retweet(self, row: RetweetRow) -> None:
        self._event(row, "retweeted")

    def hide(self, row: HideRow) -> None:
        self._user("user_id", row.user_id)
        self._tweet("tweet_id", row.tweet_id)

    def exposure(self, row: ExposureRow) -> None:
        self._event(row, "was shown")

    def _event(self, row: RetweetRow | ExposureRow, what: str) -> None:
        self._user("user_id", row.user_id)
        tweet = self._tweet("tweet_id", row.tweet_id)
        if row.user_id == tweet.author_id:
            raise BadRow("user_id", f"{what} a tweet of their own, which is never recommended: remove the row")
        if to_ms(row.created_at) < to_ms(tweet.created_at):
            raise BadRow(
                "created_at",
                f"{row.created_at.isoformat()} lies before the tweet's {tweet.created_at.isoformat()}: "
                "correct one of the two times",
            )

    def _user(self, name: str, user_id: str) -> None:
        if (user_id,) not in self.users:
            refuse_rejected(self.rejects, "users", name, user_id)
            if (user_id,) not in self.known.users:
                raise _unknown("users", name, user_id)

    def _tweet(self, name: str, tweet_id: str) -> TweetRow | KnownTweet:
        if (tweet := self.tweets.get((tweet_id,))) is not None:
            return tweet
        refuse_rejected(self.rejects, "tweets", name, tweet_id)
        if (known := self.known.tweets.get((tweet_id,))) is None:
            raise _unknown("tweets", name, tweet_id)
        return known


def _unknown(table: str, name: str, value: str) -> BadRow:
    return BadRow(name, f"{value} is unknown: add its row to {table}, or remove this one")


def refuse_rejected(rejects: Rejects, table: str, name: str, value: str) -> None:
    """Raises BadRow where a row refers to a rejected user or tweet."""
    if place := rejects.place(table, value):
        raise BadRow(name, f"{value} was rejected ({place}): mend that row first")


def user_was_deleted(user_id: str) -> str:
    """Why a user is not taken."""
    return f"{user_id} was deleted: remove the row and what refers to it"


def was_deleted(tweet_id: str) -> str:
    """Why a tweet is not taken whose id was one of a deleted tweet."""
    return f"{tweet_id} was deleted: remove the row, or give the tweet an id of its own"


def still_there(tweet_id: str) -> str:
    """Why a tweet is not taken for deleted."""
    return f"{tweet_id} is stored: an import deletes nothing: send DELETE /tweets/{tweet_id}, or remove the row"


def refuse_change(tweet: TweetRow, image_key: str, known: KnownTweet | None) -> None:
    """Raises BadRow where a tweet is stored with other content; `hidden_at` is none: it changes."""
    if known is not None and known != (tweet.author_id, tweet.text, image_key, tweet.created_at):
        raise BadRow(
            None,
            f"tweet_id {tweet.tweet_id} is stored with another author, text, image or time: "
            "give the new tweet an id of its own",
        )
