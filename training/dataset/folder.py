"""A dataset folder read whole: keys are unique, references known, times in order, pictures there.

Tables are read in the order in which they refer to one another, so that a row that refers to a rejected one is
rejected too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from contract.errors import ImageRejected
from contract.progress import Progress
from training.dataset.checks import BadRow, Check, Known, refuse_change
from training.dataset.formats import Source, find_table, read_table
from training.dataset.rejects import Reject, Rejects
from training.dataset.rows import (
    DeletedTweetRow,
    ExposureRow,
    FollowRow,
    HideRow,
    Key,
    RetweetRow,
    Row,
    TweetRow,
    UserRow,
)
from training.errors import InputRejected

R = TypeVar("R", bound=Row)


@dataclass
class Table(Generic[R]):
    """The good rows of a table by key, and where each stands."""

    rows: dict[Key, R] = field(default_factory=dict)
    sources: dict[Key, Source] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """The good rows of a folder by key, the pictures' blob keys by tweet, and where each row stands, by table."""

    users: dict[Key, UserRow]
    follows: dict[Key, FollowRow]
    tweets: dict[Key, TweetRow]
    retweets: dict[Key, RetweetRow]
    hides: dict[Key, HideRow]
    deleted_tweets: dict[Key, DeletedTweetRow]
    image_keys: dict[Key, str]
    sources: dict[str, dict[Key, Source]] = field(compare=False)

    def row_count(self) -> int:
        """Good rows of all tables."""
        tables = self.users, self.follows, self.tweets, self.retweets, self.hides, self.deleted_tweets
        return sum(len(table) for table in tables)


PictureKey = Callable[[bytes], str]
"""From a picture's bytes to its blob key; may raise ImageRejected."""


def read_dataset(folder: Path, known: Known, rejects: Rejects, picture_key: PictureKey, progress: Progress) -> Dataset:
    """Read the tables, but for the exposures, and the pictures; bad rows go to `rejects`.

    Raises InputRejected where a table cannot be read as a whole, and at the first bad row where `rejects` is strict.
    """
    if not folder.is_dir():
        raise InputRejected(f"{folder} is no folder: give one with the tables users, follows, tweets and retweets")
    check = Check(known, rejects)
    users = _table(folder, "users", UserRow, rejects, check.user)
    check.users = users.rows
    follows = _table(folder, "follows", FollowRow, rejects, check.follow)
    tweets = _table(folder, "tweets", TweetRow, rejects, check.tweet)
    image_keys = _check_pictures(folder, tweets, known, rejects, picture_key, progress)
    check.tweets = tweets.rows
    deleted = _optional_table(folder, "deleted_tweets", DeletedTweetRow, rejects, check.deleted_tweet)
    retweets = _table(folder, "retweets", RetweetRow, rejects, check.retweet)
    hides = _optional_table(folder, "hides", HideRow, rejects, check.hide)
    sources = {
        "users": users.sources,
        "follows": follows.sources,
        "tweets": tweets.sources,
        "retweets": retweets.sources,
        "hides": hides.sources,
        "deleted_tweets": deleted.sources,
    }
    return Dataset(users.rows, follows.rows, tweets.rows, retweets.rows, hides.rows, deleted.rows, image_keys, sources)


def read_exposures(folder: Path, known: Known, dataset: Dataset, rejects: Rejects) -> Iterator[ExposureRow] | None:
    """The good rows of the exposures; None where the folder has none.

    Raises what read_dataset raises.
    """
    if find_table(folder, "exposures") is None:
        return None
    check = Check(known, rejects, dataset.users, dataset.tweets)
    return (row for _, row in _good_rows(folder, "exposures", ExposureRow, rejects, check.exposure))


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


def _optional_table(
    folder: Path, name: str, row_type: type[R], rejects: Rejects, check: Callable[[R], None]
) -> Table[R]:
    return Table() if find_table(folder, name) is None else _table(folder, name, row_type, rejects, check)


def _check_pictures(
    folder: Path, tweets: Table[TweetRow], known: Known, rejects: Rejects, picture_key: PictureKey, progress: Progress
) -> dict[Key, str]:
    """Blob keys by tweet; tweets whose picture is bad, or that are stored with other content, leave the table."""
    image_keys = {}
    for key, tweet in progress(list(tweets.rows.items()), len(tweets.rows), "check pictures"):
        try:
            image_key = picture_key(_picture(folder, tweet.image))
            refuse_change(tweet, image_key, known.tweets.get(key))
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
