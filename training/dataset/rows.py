"""The one schema of a dataset, whatever format its tables come in: a row type a table, and a reason for every fault."""

import re
from datetime import datetime
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from contract.fields import Moment, TweetText
from contract.ids import MAX_ID_LENGTH, Id
from contract.preprocessing import MAX_TEXT_LENGTH

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)

Key = tuple[str, ...]

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME_FIX = "give ISO 8601 with a time zone, as 2026-01-01T00:00:00Z"
_ID_FIX = f"give a string of 1 to {MAX_ID_LENGTH} letters, digits, _ and -"
_FIXES = {
    "user_id": _ID_FIX,
    "follower_id": _ID_FIX,
    "followee_id": _ID_FIX,
    "tweet_id": _ID_FIX,
    "author_id": _ID_FIX,
    "created_at": _TIME_FIX,
    "hidden_at": f"{_TIME_FIX}, or leave it out",
    "deleted_at": _TIME_FIX,
    "text": f"give a string of at most {MAX_TEXT_LENGTH:,} characters, an empty one where there are no words",
    "image": "give the path of a picture inside the folder",
}


def _no_number(value: object) -> object:
    """Pydantic alone would read a number, also one in a string, as seconds or milliseconds, by its size."""
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError(f"is no time: {_TIME_FIX}")


At = Annotated[Moment, BeforeValidator(_no_number)]


class Row(BaseModel):
    """A row of any table; fields beyond the schema are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    key_fields: ClassVar[tuple[str, ...]]

    @property
    def key(self) -> Key:
        """What tells the row from all others of its table."""
        return tuple(getattr(self, name) for name in self.key_fields)


class UserRow(Row):
    """A row of users."""

    key_fields = ("user_id",)

    user_id: Id
    created_at: At


class FollowRow(Row):
    """A row of follows."""

    key_fields = ("follower_id", "followee_id")

    follower_id: Id
    followee_id: Id
    created_at: At


class TweetRow(Row):
    """A row of tweets."""

    key_fields = ("tweet_id",)

    tweet_id: Id
    author_id: Id
    text: TweetText
    created_at: At
    image: str
    hidden_at: At | None = None


class RetweetRow(Row):
    """A row of retweets."""

    key_fields = ("user_id", "tweet_id")

    user_id: Id
    tweet_id: Id
    created_at: At


class HideRow(Row):
    """A row of hides: a user does not want to be recommended a tweet."""

    key_fields = ("user_id", "tweet_id")

    user_id: Id
    tweet_id: Id
    created_at: At


class DeletedTweetRow(Row):
    """A row of deleted_tweets: an id that no tweet may take any more."""

    key_fields = ("tweet_id",)

    tweet_id: Id
    deleted_at: At


class ExposureRow(Row):
    """A row of exposures: a user was shown a tweet; a log may show it again."""

    key_fields = ("user_id", "tweet_id", "created_at")

    user_id: Id
    tweet_id: Id
    created_at: At


def fault(error: ValidationError) -> tuple[str | None, str]:
    """The field (None: the row as a whole) and the reason, with its fix, of the first thing wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    if not first["loc"]:
        return None, f"{first['msg']}: give one JSON object a line"
    name = str(first["loc"][0])
    if first["type"] == "value_error":  # of our own validators, which name the fix
        return name, str(first["ctx"]["error"])
    return name, f"{first['msg']}: {_FIXES[name]}"
