"""Who there is, and who follows whom: by SQL, a page at a time.

Lists are in the order of the ids' bytes (`-`, digits, capitals, `_`, small letters), which SQLite and PostgreSQL have
in their indexes. A page begins after an id: whatever is added or removed between two pages, whoever stays is told once.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, ScalarSelect, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.tables import Follow, Retweet, Tweet, User
from contract.transactions import LEAVERS, STAYS
from service.errors import UnknownUser
from service.schemas import FollowingPage, FollowingUser, UserDetail, UserPage
from service.schemas import User as UserBody

_AFTER_ALL = "~"
"""Comes after every character of an id."""


async def read_user(user_id: str, engine: AsyncEngine) -> UserDetail:
    """A user, and how many follows, tweets and retweets there are; none of users who leave. Raises UnknownUser."""
    of_leavers = select(Tweet.tweet_id).where(Tweet.author_id.in_(LEAVERS)).correlate(None)
    query = select(
        User.user_id,
        User.created_at,
        _count(Follow, Follow.follower_id == user_id, Follow.followee_id.not_in(LEAVERS)).label("followees"),
        _count(Follow, Follow.followee_id == user_id, Follow.follower_id.not_in(LEAVERS)).label("followers"),
        _count(Tweet, Tweet.author_id == user_id).label("tweets"),
        _count(Retweet, Retweet.user_id == user_id, Retweet.tweet_id.not_in(of_leavers)).label("retweets"),
    ).where(User.user_id == user_id, STAYS)
    async with engine.connect() as connection:
        user = (await connection.execute(query)).mappings().one_or_none()
    if user is None:
        raise _unknown(user_id)
    return UserDetail(**user)


async def list_users(prefix: str, after: str, limit: int, engine: AsyncEngine) -> UserPage:
    """Users whose ids begin with `prefix`, those after the id `after`."""
    begin = User.user_id > after if after >= prefix else User.user_id >= prefix
    users = select(User.user_id, User.created_at).where(begin, User.user_id < prefix + _AFTER_ALL, STAYS)
    async with engine.connect() as connection:
        rows, next_after = await _page(users, User.user_id, limit, connection)
    return UserPage(users=[UserBody(**row) for row in rows], next_after=next_after)


async def list_followees(user_id: str, after: str, limit: int, engine: AsyncEngine) -> FollowingPage:
    """Whom a user follows, those after the id `after`. Raises UnknownUser."""
    return await _follows(Follow.follower_id == user_id, Follow.followee_id, user_id, after, limit, engine)


async def list_followers(user_id: str, after: str, limit: int, engine: AsyncEngine) -> FollowingPage:
    """Who follows a user, those after the id `after`. Raises UnknownUser."""
    return await _follows(Follow.followee_id == user_id, Follow.follower_id, user_id, after, limit, engine)


async def _follows(
    theirs: ColumnElement[bool], other: Any, user_id: str, after: str, limit: int, engine: AsyncEngine
) -> FollowingPage:
    others = select(other.label("user_id"), Follow.created_at).where(theirs, other > after, other.not_in(LEAVERS))
    async with engine.connect() as connection:
        if await connection.scalar(select(User.user_id).where(User.user_id == user_id, STAYS)) is None:
            raise _unknown(user_id)
        rows, next_after = await _page(others, other, limit, connection)
    return FollowingPage(users=[FollowingUser(**row) for row in rows], next_after=next_after)


async def _page(
    rows: Any, key: Any, limit: int, connection: AsyncConnection
) -> tuple[Sequence[RowMapping], str | None]:
    """The first `limit` rows by `key`, and the last one's id where there are more."""
    found = (await connection.execute(rows.order_by(key).limit(limit + 1))).mappings().all()
    page = found[:limit]
    return page, page[-1]["user_id"] if len(found) > limit else None


def _count(table: Any, *which: ColumnElement[bool]) -> ScalarSelect[int]:
    return select(func.count()).select_from(table).where(*which).scalar_subquery()


def _unknown(user_id: str) -> UnknownUser:
    return UnknownUser(f"user_id {user_id} is not known")
