"""/users."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Response
from pydantic import WithJsonSchema

from contract.ids import ID_PATTERN
from service import changes, leaving
from service.api.bodies import not_null
from service.api.describe import answers, reference
from service.api.parts import PartsDependency, TweetId, UserId
from service.errors import (
    BodyTooLarge,
    FollowLimit,
    InvalidBody,
    InvalidChange,
    InvalidRequest,
    UnknownTweet,
    UnknownUser,
    UserDeleted,
)
from service.schemas import Follow, Hide, NewUser, Retweet, RetweetTime, User

router = APIRouter(prefix="/users", tags=["users"])

FolloweeId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the user who is followed", examples=["u0007"])]
_UNKNOWN = (InvalidRequest, UnknownUser, UnknownTweet)
_ERASING: dict[int | str, Any] = {
    202: {"description": "The user is gone for everybody, and is being erased: ask again until 204"}
}


def _known_already(model: type[Any], *errors: type[Any]) -> dict[int | str, Any]:
    return {200: {"model": model, "description": "It was so already; nothing changed"}} | answers(*errors)


def _status(change: changes.Change, response: Response) -> None:
    response.status_code = 201 if change.new else 200


@router.post(
    "",
    status_code=201,
    summary="Make a user known",
    responses=_known_already(User, InvalidRequest, InvalidBody, UserDeleted, BodyTooLarge),
)
async def create_user(
    parts: PartsDependency,
    response: Response,
    new: Annotated[NewUser, Body(examples=[{"user_id": "u0042"}, {}])],
) -> User:
    """Make a user known; without `user_id` an id is made. That of a deleted user is taken for good."""
    user_id = new.user_id or uuid.uuid4().hex
    change = await changes.add_user(user_id, parts.changes)
    _status(change, response)
    return User(user_id=user_id, created_at=change.created_at)


@router.delete(
    "/{user_id}",
    status_code=204,
    summary="Delete a user",
    responses=_ERASING | answers(InvalidRequest, UnknownUser),
)
async def delete_user(parts: PartsDependency, user_id: UserId) -> Response:
    """Remove a user for good: tweets with their pictures, retweets, hidden tweets, follows both ways, vectors.

    Nobody sees the user any more from the answer on, and the id is taken. Again changes nothing.
    """
    return Response(status_code=204 if await leaving.delete_user(user_id, parts.ingest) else 202)


@router.put(
    "/{user_id}/followees/{followee_id}",
    status_code=201,
    summary="Follow a user",
    responses=_known_already(Follow, InvalidRequest, UnknownUser, InvalidChange, FollowLimit),
)
async def follow_user(parts: PartsDependency, response: Response, user_id: UserId, followee_id: FolloweeId) -> Follow:
    """Follow, at most 10,000 users and not oneself: the very next recommendation knows of it."""
    change = await changes.follow(user_id, followee_id, parts.changes)
    _status(change, response)
    return Follow(user_id=user_id, followee_id=followee_id, created_at=change.created_at)


@router.delete(
    "/{user_id}/followees/{followee_id}",
    status_code=204,
    summary="Follow a user no more",
    responses=answers(InvalidRequest, UnknownUser),
)
async def unfollow_user(parts: PartsDependency, user_id: UserId, followee_id: FolloweeId) -> None:
    """Follow no more; where the user does not follow, nothing changes."""
    await changes.unfollow(user_id, followee_id, parts.changes)


@router.put(
    "/{user_id}/retweets/{tweet_id}",
    status_code=201,
    summary="Retweet",
    responses=_known_already(Retweet, *_UNKNOWN, InvalidBody, InvalidChange, BodyTooLarge),
    dependencies=[Depends(not_null)],
)
async def retweet(
    parts: PartsDependency,
    response: Response,
    user_id: UserId,
    tweet_id: TweetId,
    when: Annotated[RetweetTime | None, WithJsonSchema(reference(RetweetTime))] = None,
) -> Retweet:
    """Retweet another user's tweet: followers can be recommended it, the user no more. Not before the tweet's time."""
    at = when.created_at if when else None
    change = await changes.retweet(user_id, tweet_id, at, parts.changes)
    _status(change, response)
    return Retweet(user_id=user_id, tweet_id=tweet_id, created_at=change.created_at)


@router.delete(
    "/{user_id}/retweets/{tweet_id}", status_code=204, summary="Take a retweet back", responses=answers(*_UNKNOWN)
)
async def undo_retweet(parts: PartsDependency, user_id: UserId, tweet_id: TweetId) -> None:
    """Take a retweet back; where there is none, nothing changes."""
    await changes.unretweet(user_id, tweet_id, parts.changes)


@router.put(
    "/{user_id}/hidden/{tweet_id}",
    status_code=201,
    summary="Hide a tweet from one user",
    responses=_known_already(Hide, *_UNKNOWN),
)
async def hide_tweet_from_user(parts: PartsDependency, response: Response, user_id: UserId, tweet_id: TweetId) -> Hide:
    """Recommend a tweet to this user no more."""
    change = await changes.hide(user_id, tweet_id, parts.changes)
    _status(change, response)
    return Hide(user_id=user_id, tweet_id=tweet_id, created_at=change.created_at)


@router.delete(
    "/{user_id}/hidden/{tweet_id}",
    status_code=204,
    summary="Show a tweet to a user again",
    responses=answers(*_UNKNOWN),
)
async def show_tweet_to_user(parts: PartsDependency, user_id: UserId, tweet_id: TweetId) -> None:
    """Recommend a tweet to this user again."""
    await changes.unhide(user_id, tweet_id, parts.changes)
