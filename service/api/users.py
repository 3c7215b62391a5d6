"""/users."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from contract.ids import ID_PATTERN
from service import changes
from service.api.parts import KEY, PartsDependency
from service.recommend import Ask, recommend
from service.schemas import Follow, Hide, NewUser, Recommendations, Retweet, RetweetTime, Scope, User

router = APIRouter(prefix="/users", tags=["users"], dependencies=[KEY])

UserId = Annotated[str, Path(pattern=ID_PATTERN)]
FolloweeId = Annotated[str, Path(pattern=ID_PATTERN)]
TweetId = Annotated[str, Path(pattern=ID_PATTERN)]


def _status(change: changes.Change, response: Response) -> None:
    response.status_code = 201 if change.new else 200


@router.get("/{user_id}/recommendations", response_model=Recommendations)
async def get_recommendations(
    parts: PartsDependency,
    user_id: UserId,
    k: Annotated[int, Query(ge=1, le=100, description="how many")] = 3,
    scope: Annotated[Scope, Query(description="followees' tweets, or all recent ones of others")] = "followees",
    explain: Annotated[bool, Query(description="say which followees carry the social facet")] = False,
    cursor: Annotated[str | None, Query(max_length=8_000, description="next_cursor of the page before")] = None,
) -> Response:
    """The K tweets that the user will most likely retweet, best first."""
    ask = Ask(user_id, k, scope, explain, cursor)
    answer = await recommend(ask, parts.ingest.models.required(), parts.online)
    return Response(answer.model_dump_json(), media_type="application/json")


@router.post("", status_code=201, responses={200: {"model": User, "description": "known already"}})
async def post_user(parts: PartsDependency, response: Response, new: NewUser) -> User:
    """Make a user known."""
    user_id = new.user_id or uuid.uuid4().hex
    change = await changes.add_user(user_id, parts.changes)
    _status(change, response)
    return User(user_id=user_id, created_at=change.created_at)


@router.put(
    "/{user_id}/followees/{followee_id}",
    status_code=201,
    responses={200: {"model": Follow, "description": "followed already"}},
)
async def put_followee(parts: PartsDependency, response: Response, user_id: UserId, followee_id: FolloweeId) -> Follow:
    """Follow: the very next recommendation knows of it."""
    change = await changes.follow(user_id, followee_id, parts.changes)
    _status(change, response)
    return Follow(user_id=user_id, followee_id=followee_id, created_at=change.created_at)


@router.delete("/{user_id}/followees/{followee_id}", status_code=204)
async def delete_followee(parts: PartsDependency, user_id: UserId, followee_id: FolloweeId) -> None:
    """Follow no more."""
    await changes.unfollow(user_id, followee_id, parts.changes)


@router.put(
    "/{user_id}/retweets/{tweet_id}",
    status_code=201,
    responses={200: {"model": Retweet, "description": "retweeted already"}},
)
async def put_retweet(
    parts: PartsDependency, response: Response, user_id: UserId, tweet_id: TweetId, when: RetweetTime | None = None
) -> Retweet:
    """Retweet: followers can be recommended the tweet, the user no more."""
    at = when.created_at if when else None
    change = await changes.retweet(user_id, tweet_id, at, parts.changes)
    _status(change, response)
    return Retweet(user_id=user_id, tweet_id=tweet_id, created_at=change.created_at)


@router.delete("/{user_id}/retweets/{tweet_id}", status_code=204)
async def delete_retweet(parts: PartsDependency, user_id: UserId, tweet_id: TweetId) -> None:
    """Take a retweet back."""
    await changes.unretweet(user_id, tweet_id, parts.changes)


@router.put(
    "/{user_id}/hidden/{tweet_id}",
    status_code=201,
    responses={200: {"model": Hide, "description": "hidden already"}},
)
async def put_hidden(parts: PartsDependency, response: Response, user_id: UserId, tweet_id: TweetId) -> Hide:
    """Recommend a tweet to this user no more."""
    change = await changes.hide(user_id, tweet_id, parts.changes)
    _status(change, response)
    return Hide(user_id=user_id, tweet_id=tweet_id, created_at=change.created_at)


@router.delete("/{user_id}/hidden/{tweet_id}", status_code=204)
async def delete_hidden(parts: PartsDependency, user_id: UserId, tweet_id: TweetId) -> None:
    """Recommend it again."""
    await changes.unhide(user_id, tweet_id, parts.changes)
