"""Every error as RFC 9457 problem+json.

Errors of the service carry their own status. ImageTooLarge and ImageUnreadable of the contract, an unreachable Redis
or database, FastAPI's request validation and its HTTP errors are answered in the same form; anything else is a 500 with
its cause in the log.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import InternalError as ReadOnlyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from contract.errors import ImageTooLarge, ImageUnreadable
from service.errors import (
    InternalError,
    InvalidBody,
    InvalidRequest,
    PictureTooLarge,
    PictureUnreadable,
    ServiceError,
    StoreDown,
)
from service.schemas import FieldError, Problem

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
_STORE_ERRORS = (RedisError, OperationalError, InterfaceError, ReadOnlyError, PoolTimeoutError, OSError)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Refusal:
    """What an error is answered with."""

    status: int
    slug: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: list[FieldError] | None = None

    def body(self) -> Problem:
        """`type` is stable, `title` is the status's name."""
        return Problem(
            type=f"/problems/{self.slug}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=_encodable(self.detail),
            errors=self.errors,
        )

    def response(self) -> JSONResponse:
        """As problem+json."""
        return JSONResponse(
            self.body().model_dump(), status_code=self.status, headers=dict(self.headers), media_type=PROBLEM
        )


async def turn_away(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an error without reading the body; where there is one the connection ends, so that none of it is."""
    refusal, headers = refusal_of(error), Headers(scope=scope)
    if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
        refusal = replace(refusal, headers={**refusal.headers, "Connection": "close"})
    await refusal.response()(scope, receive, send)


def install(app: FastAPI) -> None:
    """Answer every error as problem+json; what is a fault of the service, `Observe` answers and logs."""
    for answered in (ServiceError, ImageTooLarge, ImageUnreadable, RequestValidationError, *_STORE_ERRORS):
        app.add_exception_handler(answered, _answer)
    app.add_exception_handler(HTTPException, _http_error)


def refusal_of(error: Exception) -> Refusal:
    """The answer to any error; what is no error of a caller's or a store's is a fault of the service."""
    match error:
        case ServiceError():
            return Refusal(error.status, error.slug, str(error), error.headers)
        case ImageTooLarge():
            return refuse(PictureTooLarge, f"image: {error}")
        case ImageUnreadable():
            return refuse(PictureUnreadable, f"image: {error}")
        case RequestValidationError():
            return invalid_request([(_place(fault), fault["msg"]) for fault in error.errors()])
        case _ if isinstance(error, _STORE_ERRORS):
            log.error("a store failed: %s", error)
            name = "the store of pictures" if isinstance(error, OSError) else "the database"
            name = "Redis" if isinstance(error, RedisError) else name
            return refuse(StoreDown, f"{name} does not answer, or takes nothing now: try again")
        case _:
            return refuse(InternalError, "this is a fault of the service; its log says more")


def refuse(kind: type[ServiceError], detail: str) -> Refusal:
    """The answer to an error of a kind."""
    return Refusal(kind.status, kind.slug, detail, kind.headers)


def invalid_request(faults: Sequence[tuple[Sequence[int | str], str]]) -> Refusal:
    """The answer to wrong fields, each by its place and what is wrong with it."""
    errors = [
        FieldError(field=_encodable(".".join(map(str, place))) or "body", message=_encodable(message))
        for place, message in faults
    ]
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return Refusal(InvalidRequest.status, InvalidRequest.slug, detail, errors=errors)


def _place(fault: dict[str, Any]) -> Sequence[int | str]:
    """Where a fault is; what is no JSON at all has a position instead of a field."""
    place: Sequence[int | str] = () if fault["type"] == "json_invalid" else fault["loc"][1:]
    return place


def _encodable(text: str) -> str:
    """Names of fields come from the client and may have lone surrogates, which UTF-8 cannot say."""
    return text.encode(errors="replace").decode()


def _answer(_: Request, error: Exception) -> JSONResponse:
    return refusal_of(error).response()


def _http_error(request: Request, error: Exception) -> JSONResponse:
    """Of the framework: no such path or method, or a body that it cannot read."""
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler's registration says so
    if error.status_code == InvalidBody.status:
        why = error.__cause__ or error.detail
        detail = f"body: cannot be read ({why}): send it whole, as what its Content-Type says"
        return refuse(InvalidBody, detail).response()
    headers = {"Allow": ", ".join(_allowed(request))} if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else {}
    slug = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return Refusal(error.status_code, slug, detail, headers).response()


def _allowed(request: Request) -> list[str]:
    """Every method that some route takes at this path (the framework names those of the first one), HEAD with GET."""
    routes = request.app.router.routes

    def fits(method: str) -> bool:
        return any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)

    allowed = [method for method in _METHODS if fits(method)]
    return ["HEAD", *allowed] if "GET" in allowed else allowed
