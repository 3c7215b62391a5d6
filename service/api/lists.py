"""GET /users and below it: who there is, and who follows whom."""

from typing import Annotated

from fastapi import APIRouter, Query

from contract.ids import MAX_ID_LENGTH, Id
from service import lists
from service.api.describe import answers
from service.api.parts import MayBeUnset, PartsDependency, UserId
from service.errors import InvalidRequest, UnknownUser
from service.schemas import FollowingPage, UserDetail, UserPage

router = APIRouter(prefix="/users", tags=["users"])

Prefix = Annotated[
    str,
    Query(
        pattern=rf"^[A-Za-z0-9_-]{{0,{MAX_ID_LENGTH}}}$",
        description="What the ids begin with; capitals and small letters differ",
        examples=["u00"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=100, description="how many", examples=[20])]
After = Annotated[
    Id | None, MayBeUnset(), Query(description="next_after of the page before, or any id", examples=["u0041"])
]
_UNKNOWN = answers(InvalidRequest, UnknownUser)


@router.get("", summary="Users by id", responses=answers(InvalidRequest))
async def get_users(parts: PartsDependency, prefix: Prefix = "", limit: Limit = 20, after: After = None) -> UserPage:
    """Users in the order of their ids' bytes: `-`, digits, capitals, `_`, small letters.

    From page to page by `next_after`, whoever is there all the time is told once.
    """
    return await lists.list_users(prefix, after or "", limit, parts.changes.engine)


@router.get("/{user_id}", summary="A user", responses=_UNKNOWN)
async def get_user(parts: PartsDependency, user_id: UserId) -> UserDetail:
    """A user, and how many follows, tweets and retweets there are."""
    return await lists.read_user(user_id, parts.changes.engine)


@router.get("/{user_id}/followees", summary="Whom a user follows", responses=_UNKNOWN)
async def get_followees(
    parts: PartsDependency, user_id: UserId, limit: Limit = 20, after: After = None
) -> FollowingPage:
    """Whom a user follows, since when, in the order of `GET /users`."""
    return await lists.list_followees(user_id, after or "", limit, parts.changes.engine)


@router.get("/{user_id}/followers", summary="Who follows a user", responses=_UNKNOWN)
async def get_followers(
    parts: PartsDependency, user_id: UserId, limit: Limit = 20, after: After = None
) -> FollowingPage:
    """Who follows a user, since when, in the order of `GET /users`."""
    return await lists.list_followers(user_id, after or "", limit, parts.changes.engine)
