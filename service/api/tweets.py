"""/tweets."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Header, Query, Response, UploadFile
from pydantic import StringConstraints, WithJsonSchema

from contract.fields import TweetText
from contract.ids import Id
from contract.preprocessing import IMAGE_FORMATS, MAX_IMAGE_BYTES
from service import removal
from service.api.bodies import clear
from service.api.describe import answers
from service.api.parts import MayBeUnset, PartsDependency, TweetId
from service.batch import BATCH_SCHEMA, post_batch
from service.errors import (
    BodyTooLarge,
    InvalidBatch,
    InvalidBody,
    InvalidRequest,
    NotReady,
    Overloaded,
    PictureTooLarge,
    PictureUnreadable,
    TweetConflict,
    UnknownAuthor,
    UnknownTweet,
)
from service.ingest import NewTweet, ingest, tweet_id_of_key
from service.reading import read_picture, read_tweet, read_tweets
from service.schemas import BatchAnswer, PastMoment, PostedTweet, SimilarTweets, StoredTweet, StoredTweets
from service.similar import similar_tweets

router = APIRouter(prefix="/tweets", tags=["tweets"])

IdempotencyKey = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]

_BINARY = {"type": "string", "format": "binary"}
_MEDIA_TYPES = [f"image/{name.lower()}" for name in IMAGE_FORMATS]
_PICTURE: dict[int | str, Any] = {
    200: {
        "description": "The picture",
        "content": {name: {"schema": _BINARY} for name in _MEDIA_TYPES},
        "headers": {name: {"schema": {"type": "string"}} for name in ("ETag", "Cache-Control")},
    }
}
_PENDING: dict[int | str, Any] = {
    202: {"model": PostedTweet, "description": "Stored; it is encoded as soon as that is possible"}
}
_UNKNOWN = answers(InvalidRequest, UnknownTweet)
_OPTIONAL = ("tweet_id", "created_at")

Picture = Annotated[UploadFile, WithJsonSchema(_BINARY)]
_PICTURE_WORDS = f"JPEG, PNG, WebP or GIF of at most {MAX_IMAGE_BYTES:,} bytes"


def _takes_pictures_in(part: str) -> dict[str, Any]:
    form = {"encoding": {part: {"contentType": ", ".join(_MEDIA_TYPES)}}}
    return {"requestBody": {"content": {"multipart/form-data": form}}}


@router.post(
    "",
    status_code=201,
    summary="Post an image tweet",
    responses=_PENDING
    | answers(
        InvalidRequest,
        InvalidBody,
        BodyTooLarge,
        PictureTooLarge,
        PictureUnreadable,
        UnknownAuthor,
        TweetConflict,
        Overloaded,
    ),
    openapi_extra=_takes_pictures_in("image"),
    dependencies=[Depends(clear(once=("image", "author_id", "text", *_OPTIONAL), optional=_OPTIONAL))],
)
async def post_tweet(
    parts: PartsDependency,
    response: Response,
    image: Annotated[Picture, File(description=_PICTURE_WORDS)],
    author_id: Annotated[Id, Form(description="Who posts it: a known user", examples=["u0007"])],
    text: Annotated[TweetText, Form(description="Its words, without NUL", examples=["Calm lake. #morning"])] = "",
    tweet_id: Annotated[
        Id | None,
        MayBeUnset(),
        Form(description="Unset: one is made, by the Idempotency-Key where there is one"),
    ] = None,
    created_at: Annotated[PastMoment | None, MayBeUnset(), Form(description="Unset: now")] = None,
    idempotency_key: Annotated[
        IdempotencyKey | None,
        MayBeUnset(),
        Header(
            alias="Idempotency-Key",
            description="The same key of the same author: the same tweet",
            examples=["order-1"],
        ),
    ] = None,
) -> PostedTweet:
    """Store and encode a new image tweet; from the answer 201 on it can be recommended.

    The same `tweet_id` or `Idempotency-Key` with the same content gives the stored tweet, with other content 409.
    """
    if tweet_id is None and idempotency_key is not None:
        tweet_id = tweet_id_of_key(author_id, idempotency_key)
    new = NewTweet(author_id, text, await image.read(), tweet_id, created_at)
    tweet = await ingest(new, parts.ingest)
    if tweet.status == "pending":
        response.status_code = 202
    return tweet


@router.post(
    ":batch",
    summary="Post up to 100 image tweets",
    responses=answers(InvalidRequest, InvalidBody, BodyTooLarge, InvalidBatch),
    openapi_extra=_takes_pictures_in("images"),
    dependencies=[Depends(clear(once=("tweets",)))],
)
async def post_tweets(
    parts: PartsDependency,
    tweets: Annotated[
        str, Form(description="A JSON list of 1 to 100 tweets, each naming its picture", json_schema_extra=BATCH_SCHEMA)
    ],
    images: Annotated[
        list[Picture],
        File(description=f"The pictures, found by their file names: {_PICTURE_WORDS} each", min_length=1),
    ],
) -> BatchAnswer:
    """Store and encode up to 100 tweets, 64 MB in all; each has a status of its own, and a bad one stops no other."""
    return BatchAnswer(items=await post_batch(tweets, images, parts.ingest))


@router.get("", summary="Several tweets as they are now", responses=answers(InvalidRequest))
async def get_tweets(
    parts: PartsDependency,
    tweet_id: Annotated[
        list[Id],
        Query(min_length=1, max_length=100, description="A tweet's id, once for each", examples=[["t0311", "t0042"]]),
    ],
) -> StoredTweets:
    """Up to 100 tweets as they are now, also hidden ones, each once and in the order asked for.

    Those that are unknown or deleted are left out.
    """
    return StoredTweets(tweets=await read_tweets(tweet_id, parts.ingest))


@router.get("/{tweet_id}", summary="A tweet as it is now", responses=_UNKNOWN)
async def get_tweet(parts: PartsDependency, tweet_id: TweetId) -> StoredTweet:
    """A tweet as it is now, also where it is hidden."""
    return await read_tweet(tweet_id, parts.ingest)


@router.get("/{tweet_id}/image", summary="A tweet's picture", response_class=Response, responses=_PICTURE | _UNKNOWN)
async def get_tweet_image(parts: PartsDependency, tweet_id: TweetId) -> Response:
    """A tweet's picture, byte by byte as it was posted."""
    picture = await read_picture(tweet_id, parts.ingest)
    headers = {
        "ETag": f'"{picture.key}"',
        "Cache-Control": "private, max-age=3600",
    }
    return Response(picture.data, media_type=picture.media_type, headers=headers)


@router.get(
    "/{tweet_id}/similar",
    summary="Tweets like this one",
    responses=answers(InvalidRequest, UnknownTweet, NotReady),
)
async def get_similar_tweets(
    parts: PartsDependency,
    tweet_id: TweetId,
    k: Annotated[int, Query(ge=1, le=100, description="how many", examples=[10])] = 10,
) -> SimilarTweets:
    """The K most similar ones of the newest tweets, by the cosine of the vectors that the encoder makes of them."""
    return await similar_tweets(tweet_id, k, parts.ingest, parts.online.network)


@router.delete("/{tweet_id}", status_code=204, summary="Delete a tweet", responses=_UNKNOWN)
async def delete_tweet(parts: PartsDependency, tweet_id: TweetId) -> None:
    """Remove a tweet, its retweets and its picture for good; nobody is recommended it from the answer on.

    Its id stays taken.
    """
    await removal.delete_tweet(tweet_id, parts.ingest)


@router.put("/{tweet_id}/hidden", status_code=204, summary="Hide a tweet from everybody", responses=_UNKNOWN)
async def hide_tweet(parts: PartsDependency, tweet_id: TweetId) -> None:
    """Keep a tweet from everybody."""
    await removal.hide_tweet(tweet_id, parts.ingest)


@router.delete("/{tweet_id}/hidden", status_code=204, summary="Show a tweet again", responses=_UNKNOWN)
async def show_tweet(parts: PartsDependency, tweet_id: TweetId) -> None:
    """Show a tweet again that was hidden from everybody."""
    await removal.show_tweet(tweet_id, parts.ingest)
