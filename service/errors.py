"""Errors of the service, answered as RFC 9457 problem+json.

ServiceError
├── UnknownUser         404
├── UnknownTweet        404
├── UnknownVersion      404
├── UnknownAuthor       422
├── InvalidBatch        422
├── InvalidChange       422
├── InvalidCursor       422
├── CursorExpired       410
├── TweetConflict       409
├── FollowLimit         409
├── VersionUnfit        409
├── BodyTooLarge        413
├── Unauthorized        401
├── Forbidden           403
├── Overloaded          429, Retry-After
├── RateLimited         429, Retry-After
└── NotReady            503, Retry-After

ImageTooLarge (413) and ImageUnreadable (422) of the contract, an unreachable Redis or database (503), FastAPI's request
validation (422) and its HTTP errors are answered in the same form; anything else is a 500 with its cause in the log.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from contract.errors import ImageTooLarge, ImageUnreadable

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
_STORE_ERRORS = (RedisError, OperationalError, InterfaceError, PoolTimeoutError)


class ServiceError(Exception):
    """Its message is the problem's `detail`: what is wrong and how to mend it."""

    status: ClassVar[int]
    slug: ClassVar[str]
    headers: ClassVar[dict[str, str]] = {}


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
    """A cursor of a version that does not serve any more."""

    status, slug = 410, "cursor-expired"


class UnknownAuthor(ServiceError):
    """A tweet's author is no user."""

    status, slug = 422, "unknown-author"


class TweetConflict(ServiceError):
    """The tweet id is taken by another tweet."""

    status, slug = 409, "tweet-conflict"


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
    """As many tweets are in work as the service takes."""

    status, slug = 429, "overloaded"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class RateLimited(ServiceError):
    """A key asks more often than it may."""

    status, slug = 429, "rate-limited"

    def __init__(self, detail: str, retry_after: int) -> None:
        """`retry_after`: seconds."""
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after)}  # type: ignore[misc]  # this error's own


class NotReady(ServiceError):
    """No model serves yet."""

    status, slug = 503, "not-ready"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


@dataclass(frozen=True)
class Problem:
    """What an error is answered with."""

    status: int
    slug: str
    detail: str
    headers: dict[str, str] | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """`type` is stable, `title` is the status's name."""
        title = HTTPStatus(self.status).phrase
        return {
            "type": f"/problems/{self.slug}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }

    def response(self) -> JSONResponse:
        """As problem+json."""
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers, media_type=PROBLEM)


def install(app: FastAPI) -> None:
    """Answer every error as problem+json; what is a fault of the service, `Observe` answers and logs."""
    for answered in (ServiceError, ImageTooLarge, ImageUnreadable, RequestValidationError, *_STORE_ERRORS):
        app.add_exception_handler(answered, _answer)
    app.add_exception_handler(HTTPException, _http_error)


def problem_of(error: Exception) -> Problem:
    """The problem of any error; what is no error of a caller's or a store's is a fault of the service."""
    match error:
        case ServiceError():
            return Problem(error.status, error.slug, str(error), error.headers)
        case ImageTooLarge():
            return Problem(413, "image-too-large", f"image: {error}")
        case ImageUnreadable():
            return Problem(422, "image-unreadable", f"image: {error}")
        case RequestValidationError():
            return invalid_request([(_place(fault), fault["msg"]) for fault in error.errors()])
        case _ if isinstance(error, _STORE_ERRORS):
            log.error("a store failed: %s", error)
            name = "Redis" if isinstance(error, RedisError) else "the database"
            return Problem(503, "store-unavailable", f"{name} does not answer: try again", {"Retry-After": "5"})
        case _:
            return Problem(500, "internal-error", "this is a fault of the service; its log says more")


def _place(fault: dict[str, Any]) -> Sequence[int | str]:
    """Where a fault is; what is no JSON at all has a position instead of a field."""
    place: Sequence[int | str] = () if fault["type"] == "json_invalid" else fault["loc"][1:]
    return place


def invalid_request(fields: Sequence[tuple[Sequence[int | str], str]]) -> Problem:
    """The problem of fields, each by its place and what is wrong with it."""
    errors = [{"field": ".".join(map(str, place)) or "body", "message": message} for place, message in fields]
    detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
    return Problem(422, "invalid-request", detail, more={"errors": errors})


def _answer(_: Request, error: Exception) -> JSONResponse:
    return problem_of(error).response()


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler's registration says so
    slug = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    headers = dict(error.headers) if error.headers else None
    return Problem(error.status_code, slug, f"{request.method} {request.url.path}: {error.detail}", headers).response()
