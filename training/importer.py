"""A dataset folder of JSONL files and images into the database, the blob store and the online graph.

    users.jsonl      user_id, created_at
    follows.jsonl    follower_id, followee_id, created_at
    tweets.jsonl     tweet_id, author_id, text, created_at, image (a path inside the folder)
    retweets.jsonl   user_id, tweet_id, created_at

Everything is checked before anything is stored, and the rows are stored in one transaction. Rows may refer to users and
tweets that the database has already. Importing the same folder again adds nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.blobs import BlobStore, blob_key
from contract.errors import ImageRejected
from contract.fields import Moment, TweetText
from contract.graph import OnlineGraph
from contract.ids import Id
from contract.preprocessing import decode_image
from contract.tables import Base, Follow, Retweet, Tweet, User
from training.errors import InputRejected
from training.online import rebuild_graph
from training.progress import Progress
from training.stores import Stores

_CHECKED_SIZE = 32
_CHUNK = 5_000


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    created_at: Moment


class UserRow(_Row):
    """A line of users.jsonl."""

    user_id: Id


class FollowRow(_Row):
    """A line of follows.jsonl."""

    follower_id: Id
    followee_id: Id


class TweetRow(_Row):
    """A line of tweets.jsonl."""

    tweet_id: Id
    author_id: Id
    text: TweetText
    image: str


class RetweetRow(_Row):
    """A line of retweets.jsonl."""

    user_id: Id
    tweet_id: Id


R = TypeVar("R", bound=_Row)
Key = tuple[str, ...]


@dataclass
class Stored:
    """Keys that the database has already."""

    users: set[Key] = field(default_factory=set)
    follows: set[Key] = field(default_factory=set)
    tweets: dict[Key, tuple[str, str, str]] = field(default_factory=dict)
    retweets: set[Key] = field(default_factory=set)


@dataclass
class Dataset:
    """The checked rows of a folder by key; `places` says where each tweet stands."""

    users: dict[Key, UserRow] = field(default_factory=dict)
    follows: dict[Key, FollowRow] = field(default_factory=dict)
    tweets: dict[Key, TweetRow] = field(default_factory=dict)
    retweets: dict[Key, RetweetRow] = field(default_factory=dict)
    places: dict[Key, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportReport:
    """New rows by table; what was there already is not counted."""

    users: int
    follows: int
    tweets: int
    retweets: int


async def import_dataset(folder: Path, stores: Stores, progress: Progress) -> ImportReport:
    """Check, store the pictures, store the rows, show them online.

    Raises InputRejected with file and line where a row, a reference or a picture is wrong; nothing is stored then.
    """
    stored = await read_stored(stores.engine)
    dataset = read_dataset(folder, stored)
    image_keys = check_pictures(folder, dataset, stored, progress)
    store_pictures(folder, dataset, stores.blobs, progress)
    report = await store_rows(stores.engine, dataset, stored, image_keys)
    await rebuild_graph(stores.engine, OnlineGraph(stores.redis, stores.namespace))
    return report


async def read_stored(engine: AsyncEngine) -> Stored:
    """What the database has."""
    async with engine.connect() as connection:
        users = await connection.execute(select(User.user_id))
        follows = await connection.execute(select(Follow.follower_id, Follow.followee_id))
        tweets = await connection.execute(select(Tweet.tweet_id, Tweet.author_id, Tweet.text, Tweet.image_key))
        retweets = await connection.execute(select(Retweet.user_id, Retweet.tweet_id))
        return Stored(
            users={(row.user_id,) for row in users},
            follows={(row.follower_id, row.followee_id) for row in follows},
            tweets={(row.tweet_id,): (row.author_id, row.text, row.image_key) for row in tweets},
            retweets={(row.user_id, row.tweet_id) for row in retweets},
        )


def read_dataset(folder: Path, stored: Stored) -> Dataset:
    """Parse all four files; check that keys are unique, references known and image files there."""
    if not folder.is_dir():
        raise InputRejected(f"{folder} is no folder: give one with users.jsonl, follows.jsonl, tweets.jsonl, ...")
    dataset = Dataset()
    for place, user in _rows(folder / "users.jsonl", UserRow):
        _add(dataset.users, (user.user_id,), user, place)
    for place, follow in _rows(folder / "follows.jsonl", FollowRow):
        _require(place, "follower_id", (follow.follower_id,), dataset.users, stored.users)
        _require(place, "followee_id", (follow.followee_id,), dataset.users, stored.users)
        if follow.follower_id == follow.followee_id:
            raise InputRejected(f"{place}: followee_id is the follower_id; nobody follows themselves: remove the line")
        _add(dataset.follows, (follow.follower_id, follow.followee_id), follow, place)
    for place, tweet in _rows(folder / "tweets.jsonl", TweetRow):
        _require(place, "author_id", (tweet.author_id,), dataset.users, stored.users)
        _require_image(place, folder, tweet.image)
        _add(dataset.tweets, (tweet.tweet_id,), tweet, place)
        dataset.places[(tweet.tweet_id,)] = place
    for place, retweet in _rows(folder / "retweets.jsonl", RetweetRow):
        _require(place, "user_id", (retweet.user_id,), dataset.users, stored.users)
        _require(place, "tweet_id", (retweet.tweet_id,), dataset.tweets, stored.tweets)
        _add(dataset.retweets, (retweet.user_id, retweet.tweet_id), retweet, place)
    return dataset


def check_pictures(folder: Path, dataset: Dataset, stored: Stored, progress: Progress) -> dict[Key, str]:
    """Decode every picture once; returns its blob key by tweet.

    Raises InputRejected where it cannot be decoded, or where the tweet is stored with other content.
    """
    image_keys = {}
    for key, tweet in progress(dataset.tweets.items(), len(dataset.tweets), "check pictures"):
        try:
            data = (folder / tweet.image).read_bytes()
            decode_image(data, _CHECKED_SIZE)
        except ImageRejected as error:
            raise InputRejected(f"{dataset.places[key]}, field image ({tweet.image}): {error}") from error
        image_keys[key] = blob_key(data)
        if key in stored.tweets and stored.tweets[key] != (tweet.author_id, tweet.text, image_keys[key]):
            raise InputRejected(
                f"{dataset.places[key]}: tweet_id {tweet.tweet_id} is stored with another author, text or image: "
                "give the new tweet an id of its own"
            )
    return image_keys


def store_pictures(folder: Path, dataset: Dataset, blobs: BlobStore, progress: Progress) -> None:
    """Put every picture into the blob store."""
    for tweet in progress(dataset.tweets.values(), len(dataset.tweets), "store pictures"):
        blobs.put((folder / tweet.image).read_bytes())


async def store_rows(engine: AsyncEngine, dataset: Dataset, stored: Stored, image_keys: dict[Key, str]) -> ImportReport:
    """Insert what is not stored yet, in one transaction."""
    images = {key: {"image_key": image_key} for key, image_key in image_keys.items()}
    async with engine.begin() as connection:
        return ImportReport(
            users=await _insert(connection, User, _new(dataset.users, stored.users)),
            follows=await _insert(connection, Follow, _new(dataset.follows, stored.follows)),
            tweets=await _insert(connection, Tweet, _new(dataset.tweets, stored.tweets, images)),
            retweets=await _insert(connection, Retweet, _new(dataset.retweets, stored.retweets)),
        )


def _rows(path: Path, row_type: type[R]) -> Iterator[tuple[str, R]]:
    if not path.is_file():
        raise InputRejected(f"{path} is missing: a dataset has all four files, empty ones where there is nothing")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place = f"{path} line {number}"
            try:
                yield place, row_type.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                name = ".".join(str(part) for part in first["loc"])
                raise InputRejected(f"{place}{f', field {name}' if name else ''}: {first['msg']}") from error


def _add(rows: dict[Key, R], key: Key, row: R, place: str) -> None:
    if key in rows:
        raise InputRejected(f"{place}: {' '.join(key)} stands in an earlier line already: remove one of them")
    rows[key] = row


def _require(place: str, name: str, key: Key, rows: dict[Key, Any], stored: set[Key] | dict[Key, Any]) -> None:
    if key not in rows and key not in stored:
        raise InputRejected(f"{place}, field {name}: {key[0]} is neither in the folder nor in the database: add it")


def _require_image(place: str, folder: Path, image: str) -> None:
    try:
        path = (folder / image).resolve()
        there = path.is_file()
    except (OSError, ValueError) as error:
        raise InputRejected(f"{place}, field image: is no path ({error}): name a file of the folder") from error
    if not path.is_relative_to(folder.resolve()):
        raise InputRejected(f"{place}, field image: {image} lies outside the folder: move it in")
    if not there:
        raise InputRejected(f"{place}, field image: {image} is missing: add the file or remove the line")


def _new(
    rows: dict[Key, R], stored: set[Key] | dict[Key, Any], more: dict[Key, dict[str, str]] | None = None
) -> list[dict[str, Any]]:
    values = {key: row.model_dump(exclude={"image"}) for key, row in rows.items() if key not in stored}
    return [value | (more[key] if more else {}) for key, value in values.items()]


async def _insert(connection: AsyncConnection, table: type[Base], values: list[dict[str, Any]]) -> int:
    for start in range(0, len(values), _CHUNK):
        await connection.execute(insert(table), values[start : start + _CHUNK])
    return len(values)
