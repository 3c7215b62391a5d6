"""/tweets."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Header, Path, Query, Response, UploadFile

from contract.fields import TweetText
from contract.ids import ID_PATTERN
from service.api.parts import KEY, PartsDependency
from service.batch import post_batch
from service.ingest import NewTweet, ingest, tweet_id_of_key
from service.reading import read_picture, read_tweet
from service.removal import delete_tweet, hide_tweet, show_tweet
from service.schemas import BatchAnswer, PastMoment, PostedTweet, SimilarTweets, StoredTweet
from service.similar import similar_tweets

router = APIRouter(prefix="/tweets", tags=["tweets"], dependencies=[KEY])

TweetId = Annotated[str, Path(pattern=ID_PATTERN)]


@router.post(
    "",
    status_code=201,
    responses={202: {"model": PostedTweet, "description": "stored, to be encoded"}},
)
async def post_tweet(
    parts: PartsDependency,
    response: Response,
    image: Annotated[UploadFile, File(description="JPEG, PNG, WebP or GIF")],
    author_id: Annotated[str, Form(pattern=ID_PATTERN)],
    text: Annotated[TweetText, Form()] = "",
    tweet_id: Annotated[str | None, Form(pattern=ID_PATTERN, description="unset: one is made")] = None,
    created_at: Annotated[PastMoment | None, Form(description="unset: now")] = None,
    idempotency_key: Annotated[
        str | None, Header(pattern=r"^[!-~]{1,255}$", description="the same key of the same author: the same tweet")
    ] = None,
) -> PostedTweet:
    """Store and encode a new image tweet; from the answer 201 on it can be recommended."""
    if tweet_id is None and idempotency_key is not None:
        tweet_id = tweet_id_of_key(author_id, idempotency_key)
    new = NewTweet(author_id, text, await image.read(), tweet_id, created_at)
    tweet = await ingest(new, parts.ingest)
    if tweet.status == "pending":
        response.status_code = 202
    return tweet


@router.post(":batch")
async def post_tweets(
    parts: PartsDependency,
    tweets: Annotated[
        str,
        Form(
            description='[{"author_id": ..., "image": FILE NAME, "text": ..., "tweet_id": ..., "created_at": ...}, ...]'
        ),
    ],
    images: Annotated[list[UploadFile], File(description="the pictures, found by their file names")],
) -> BatchAnswer:
    """Store and encode up to 100 tweets; each has a status of its own, and a bad one stops no other."""
    return BatchAnswer(items=await post_batch(tweets, images, parts.ingest))


@router.get("/{tweet_id}")
async def get_tweet(parts: PartsDependency, tweet_id: TweetId) -> StoredTweet:
    """A tweet as it is now."""
    return await read_tweet(tweet_id, parts.ingest)


@router.get("/{tweet_id}/image", response_class=Response, responses={200: {"content": {"image/*": {}}}})
async def get_image(parts: PartsDependency, tweet_id: TweetId) -> Response:
    """A tweet's picture, byte by byte as it was posted."""
    picture = await read_picture(tweet_id, parts.ingest)
    headers = {
        "ETag": f'"{picture.key}"',
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(picture.data, media_type=picture.media_type, headers=headers)


@router.get("/{tweet_id}/similar")
async def get_similar(
    parts: PartsDependency, tweet_id: TweetId, k: Annotated[int, Query(ge=1, le=100, description="how many")] = 10
) -> SimilarTweets:
    """The K most similar ones of the newest tweets, by what the encoder makes of picture and words."""
    return await similar_tweets(tweet_id, k, parts.ingest)


@router.delete("/{tweet_id}", status_code=204)
async def remove_tweet(parts: PartsDependency, tweet_id: TweetId) -> None:
    """Remove a tweet, its retweets and its picture for good; nobody is recommended it from the answer on."""
    await delete_tweet(tweet_id, parts.ingest)


@router.put("/{tweet_id}/hidden", status_code=204)
async def put_hidden(parts: PartsDependency, tweet_id: TweetId) -> None:
    """Keep a tweet from everybody."""
    await hide_tweet(tweet_id, parts.ingest)


@router.delete("/{tweet_id}/hidden", status_code=204)
async def delete_hidden(parts: PartsDependency, tweet_id: TweetId) -> None:
    """Show it again."""
    await show_tweet(tweet_id, parts.ingest)
