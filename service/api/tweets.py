"""/tweets."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Response, UploadFile
from pydantic import AfterValidator

from contract.fields import Moment, TweetText
from contract.ids import ID_PATTERN
from service.api.parts import PartsDependency, check_key
from service.ingest import NewTweet, ingest
from service.schemas import PostedTweet

router = APIRouter(prefix="/tweets", tags=["tweets"], dependencies=[Depends(check_key)])

_CLOCK_DIFFERENCE = timedelta(minutes=5)


def _not_in_future(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + _CLOCK_DIFFERENCE:
        raise ValueError("is in the future: send the time of posting, or leave it out")
    return moment


PastMoment = Annotated[Moment, AfterValidator(_not_in_future)]


@router.post("", status_code=201, responses={202: {"model": PostedTweet, "description": "stored, to be encoded"}})
async def post_tweet(
    parts: PartsDependency,
    response: Response,
    image: Annotated[UploadFile, File(description="JPEG, PNG, WebP or GIF")],
    author_id: Annotated[str, Form(pattern=ID_PATTERN)],
    text: Annotated[TweetText, Form()] = "",
    tweet_id: Annotated[str | None, Form(pattern=ID_PATTERN, description="unset: one is made")] = None,
    created_at: Annotated[PastMoment | None, Form(description="unset: now")] = None,
) -> PostedTweet:
    """Store and encode a new image tweet; from the answer 201 on it can be recommended."""
    new = NewTweet(author_id, text, await image.read(), tweet_id, created_at)
    tweet = await ingest(new, parts.ingest)
    if tweet.status == "pending":
        response.status_code = 202
    return tweet
