"""Errors of the service; `service.problems` answers them as RFC 9457 problem+json.

ServiceError
├── InvalidBody         400
├── Unauthorized        401
├── Forbidden           403
├── UnknownUser         404
├── UnknownTweet        404
├── UnknownVersion      404
├── TweetConflict       409
├── UserDeleted         409
├── FollowLimit         409
├── VersionUnfit        409
├── CursorExpired       410
├── BodyTooLarge        413
├── PictureTooLarge     413
├── InvalidRequest      422
├── PictureUnreadable   422
├── UnknownAuthor       422
├── InvalidBatch        422
├── InvalidChange       422
├── InvalidCursor       422
├── Overloaded          429, Retry-After
├── RateLimited         429, Retry-After
├── InternalError       500
├── NotReady            503, Retry-After
├── StoreDown           503, Retry-After
└── TookTooLong         503, Retry-After
"""

from typing import ClassVar


class ServiceError(Exception):
    """Its message is the problem's `detail`: what is wrong and how to mend it."""

    status: ClassVar[int]
    slug: ClassVar[str]
    headers: ClassVar[dict[str, str]] = {}

    @classmethod
    def meaning(cls) -> str:
        """Its docstring, for the API's description."""
        return (cls.__doc__ or "").strip()


class UnknownUser(ServiceError):
    """No such user."""

    status, slug = 404, "unknown-user"


class UnknownTweet(ServiceError):
    """No such tweet."""

    status, slug = 404, "unknown-tweet"


class UnknownVersion(ServiceError):
    """No such model version."""

    status, slug = 404, "unknown-version"


class VersionUnfit(ServiceError):
    """A model version that cannot serve as it is."""

    status, slug = 409, "version-unfit"


class InvalidBatch(ServiceError):
    """A batch that cannot be read as a whole."""

    status, slug = 422, "invalid-batch"


class InvalidChange(ServiceError):
    """A change that cannot be: following oneself, a retweet before its tweet."""

    status, slug = 422, "invalid-change"


class FollowLimit(ServiceError):
    """The user follows as many users as one can."""

    status, slug = 409, "follow-limit"


class InvalidCursor(ServiceError):
    """A cursor that is none of ours, or of another request."""

    status, slug = 422, "invalid-cursor"


class CursorExpired(ServiceError):
    """A cursor of another version than the one that ranks the request."""

    status, slug = 410, "cursor-expired"


class UnknownAuthor(ServiceError):
    """A tweet's author is no user."""

    status, slug = 422, "unknown-author"


class TweetConflict(ServiceError):
    """The tweet id is taken by another tweet."""

    status, slug = 409, "tweet-conflict"


class UserDeleted(ServiceError):
    """The user id is that of a deleted user."""

    status, slug = 409, "user-deleted"


class BodyTooLarge(ServiceError):
    """The request's body has more bytes than are read."""

    status, slug = 413, "body-too-large"


class Unauthorized(ServiceError):
    """No key, or another one."""

    status, slug = 401, "unauthorized"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(ServiceError):
    """A key without the scope that this needs."""

    status, slug = 403, "forbidden"


class Overloaded(ServiceError):
    """As much is in work as the service takes: reads, writes, or tweets to encode."""

    status, slug = 429, "overloaded"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class RateLimited(ServiceError):
    """A key asks more often than it may."""

    status, slug = 429, "rate-limited"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "60"}

    def __init__(self, detail: str, retry_after: int) -> None:
        """`retry_after`: seconds."""
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after)}  # type: ignore[misc]  # this error's own


class NotReady(ServiceError):
    """No model serves yet."""

    status, slug = 503, "not-ready"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class InvalidRequest(ServiceError):
    """A parameter or a field is missing or wrong: `errors` names each."""

    status, slug = 422, "invalid-request"


class InvalidBody(ServiceError):
    """The body cannot be read in the format that it is said to have."""

    status, slug = 400, "invalid-body"


class PictureTooLarge(ServiceError):
    """The picture has more bytes or pixels than are taken."""

    status, slug = 413, "image-too-large"


class PictureUnreadable(ServiceError):
    """The picture is damaged, or none of the formats that are taken."""

    status, slug = 422, "image-unreadable"


class StoreDown(ServiceError):
    """Redis, the database or the store of pictures does not answer, or takes nothing."""

    status, slug = 503, "store-unavailable"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class TookTooLong(ServiceError):
    """It took longer than a request may; a change may have been made or not, and may be sent again."""

    status, slug = 503, "took-too-long"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class InternalError(ServiceError):
    """A fault of the service; its log says more."""

    status, slug = 500, "internal-error"
