"""A dataset folder read whole: keys are unique, references known, times in order, pictures there.

Tables are read in the order in which they refer to one another, so that a row that refers to a rejected one is
rejected too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from contract.errors import ImageRejected
from training.dataset.formats import Source, find_table, read_table
from training.dataset.rejects import Reject, Rejects
from training.dataset.rows import ExposureRow, FollowRow, Key, RetweetRow, Row, TweetRow, UserRow
from training.errors import InputRejected
from training.progress import Progress

R = TypeVar("R", bound=Row)


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
    deleted_tweets: set[Key] = field(default_factory=set)


@dataclass
class Table(Generic[R]):
    """The good rows of a table by key, and where each stands."""

    rows: dict[Key, R] = field(default_factory=dict)
    sources: dict[Key, Source] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """The good rows of a folder; `image_keys` are the pictures' blob keys by tweet."""

    users: dict[Key, UserRow]
    follows: dict[Key, FollowRow]
    tweets: dict[Key, TweetRow]
    retweets: dict[Key, RetweetRow]
    image_keys: dict[Key, str]


class BadRow(Exception):
    """A check's answer: the field (None: the whole row) and the reason with its fix."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.field, self.reason = field, reason


PictureKey = Callable[[bytes], str]
"""From a picture's bytes to its blob key; may raise ImageRejected."""


def read_dataset(folder: Path, known: Known, rejects: Rejects, picture_key: PictureKey, progress: Progress) -> Dataset:
    """Read the four tables and the pictures; bad rows go to `rejects`.

    Raises InputRejected where a table cannot be read as a whole, and at the first bad row where `rejects` is strict.
    """
    if not folder.is_dir():
        raise InputRejected(f"{folder} is no folder: give one with the tables users, follows, tweets and retweets")
    check = _Check(known, rejects)
    users = check.users = _table(folder, "users", UserRow, rejects, lambda _: None).rows
    follows = _table(folder, "follows", FollowRow, rejects, check.follow).rows
    tweets = _table(folder, "tweets", TweetRow, rejects, check.tweet)
    image_keys = _check_pictures(folder, tweets, known, rejects, picture_key, progress)
    check.tweets = tweets.rows
    retweets = _table(folder, "retweets", RetweetRow, rejects, check.retweet).rows
    return Dataset(users, follows, tweets.rows, retweets, image_keys)


def read_exposures(folder: Path, known: Known, dataset: Dataset, rejects: Rejects) -> Iterator[ExposureRow] | None:
    """The good rows of the exposures; None where the folder has none.

    Raises what read_dataset raises.
    """
    if find_table(folder, "exposures") is None:
        return None
    check = _Check(known, rejects, dataset.users, dataset.tweets)
    return (row for _, row in _good_rows(folder, "exposures", ExposureRow, rejects, check.exposure))


@dataclass
class _Check:
    """Checks of a row against the tables before it."""

    known: Known
    rejects: Rejects
    users: dict[Key, UserRow] = field(default_factory=dict)
    tweets: dict[Key, TweetRow] = field(default_factory=dict)

    def follow(self, row: FollowRow) -> None:
        self._user("follower_id", row.follower_id)
        self._user("followee_id", row.followee_id)
        if row.follower_id == row.followee_id:
            raise BadRow("followee_id", "is the follower_id; nobody follows themselves: remove the row")

    def tweet(self, row: TweetRow) -> None:
        self._user("author_id", row.author_id)
        if row.key in self.known.deleted_tweets:
            raise BadRow("tweet_id", f"{row.tweet_id} was deleted: remove the row, or give the tweet an id of its own")

    def retweet(self, row: RetweetRow) -> None:
        self._event(row, "retweeted")

    def exposure(self, row: ExposureRow) -> None:
        self._event(row, "was shown")

    def _event(self, row: RetweetRow | ExposureRow, what: str) -> None:
        self._user("user_id", row.user_id)
        tweet = self._tweet("tweet_id", row.tweet_id)
        if row.user_id == tweet.author_id:
            raise BadRow("user_id", f"{what} a tweet of their own, which is never recommended: remove the row")
        if row.created_at < tweet.created_at:
            raise BadRow(
                "created_at",
                f"{row.created_at.isoformat()} lies before the tweet's {tweet.created_at.isoformat()}: "
                "correct one of the two times",
            )

    def _user(self, name: str, user_id: str) -> None:
        if (user_id,) not in self.users:
            self._refuse_rejected("users", name, user_id)
            if (user_id,) not in self.known.users:
                raise _unknown("users", name, user_id)

    def _tweet(self, name: str, tweet_id: str) -> TweetRow | KnownTweet:
        if (tweet := self.tweets.get((tweet_id,))) is not None:
            return tweet
        self._refuse_rejected("tweets", name, tweet_id)
        if (known := self.known.tweets.get((tweet_id,))) is None:
            raise _unknown("tweets", name, tweet_id)
        return known

    def _refuse_rejected(self, table: str, name: str, value: str) -> None:
        if place := self.rejects.place(table, value):
            raise BadRow(name, f"{value} was rejected ({place}): mend that row first")


def _unknown(table: str, name: str, value: str) -> BadRow:
    return BadRow(name, f"{value} is unknown: add its row to {table}, or remove this one")


def _good_rows(
    folder: Path, name: str, row_type: type[R], rejects: Rejects, check: Callable[[R], None]
) -> Iterator[tuple[Source, R]]:
    for source, row in read_table(folder, name, row_type):
        if isinstance(row, Reject):
            rejects.add(row)
            continue
        try:
            check(row)
        except BadRow as bad:
            rejects.add(source.reject(bad.field, bad.reason))
        else:
            yield source, row


def _table(folder: Path, name: str, row_type: type[R], rejects: Rejects, check: Callable[[R], None]) -> Table[R]:
    table = Table[R]()
    for source, row in _good_rows(folder, name, row_type, rejects, check):
        key = row.key
        first = table.sources.setdefault(key, source)
        if first is source:
            table.rows[key] = row
        else:
            what = "duplicate" if row == table.rows[key] else "duplicate with other values"
            rejects.add(source.reject(None, f"{what} of {first.place} ({' '.join(key)}): remove one of the two"))
    return table


def _check_pictures(
    folder: Path, tweets: Table[TweetRow], known: Known, rejects: Rejects, picture_key: PictureKey, progress: Progress
) -> dict[Key, str]:
    """Blob keys by tweet; tweets whose picture is bad, or that are stored with other content, leave the table."""
    image_keys = {}
    for key, tweet in progress(list(tweets.rows.items()), len(tweets.rows), "check pictures"):
        try:
            image_key = picture_key(_picture(folder, tweet.image))
            _refuse_change(tweet, image_key, known.tweets.get(key))
        except ImageRejected as error:
            rejects.add(tweets.sources[key].reject("image", f"{tweet.image}: {error}"))
        except BadRow as bad:
            rejects.add(tweets.sources[key].reject(bad.field, bad.reason))
        else:
            image_keys[key] = image_key
            continue
        del tweets.rows[key]
    return image_keys


def _picture(folder: Path, image: str) -> bytes:
    try:
        path = (folder / image).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise BadRow("image", f"{image} lies outside the folder: move it in")
        if not path.is_file():
            raise BadRow("image", f"{image} is missing: add the file or remove the row")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise BadRow("image", f"cannot be read ({error}): name a picture of the folder") from error


def _refuse_change(tweet: TweetRow, image_key: str, known: KnownTweet | None) -> None:
    if known is not None and known != (tweet.author_id, tweet.text, image_key, tweet.created_at):
        raise BadRow(
            None,
            f"tweet_id {tweet.tweet_id} is stored with another author, text, image or time: "
            "give the new tweet an id of its own",
        )
