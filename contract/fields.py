"""Fields that come from outside, in the API as in a dataset's files."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from contract.preprocessing import MAX_TEXT_LENGTH


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL character: remove it")
    return text


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is before the year 1 or after the year 9999 in UTC") from error


TweetText = Annotated[
    str,
    StringConstraints(max_length=MAX_TEXT_LENGTH),
    AfterValidator(_without_nul),
    Field(json_schema_extra={"pattern": r"^[^\u0000]*$"}),
]
"""A tweet's words; PostgreSQL stores no NUL."""

Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with its zone, brought to UTC."""
