"""The OpenAPI document: what FastAPI does not write by itself."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.batch import BatchTweet
from service.errors import (
    Forbidden,
    InternalError,
    Overloaded,
    RateLimited,
    ServiceError,
    StoreDown,
    TookTooLong,
    Unauthorized,
)
from service.guard import is_guarded, needed
from service.observe import HEADER
from service.problems import PROBLEM
from service.schemas import Problem, RetweetTime

TAGS = [
    {"name": "users", "description": "Who there is, what they do, and what they are recommended"},
    {"name": "tweets", "description": "Image tweets: posted, read, hidden and deleted"},
    {"name": "models", "description": "Versions of the model, and which one serves"},
    {"name": "operator", "description": "What an operator's page shows"},
    {"name": "health", "description": "How the service is"},
]

ERRORS = """\
Every error is `application/problem+json` with a stable `type`. A path that is not in this document answers 404, and a
method that a path does not take 405 with `Allow`; what answers GET answers HEAD too.
"""

_REF = "#/components/schemas/{model}"


def reference(model: type[BaseModel]) -> dict[str, Any]:
    """To a model that has a component of its own."""
    return {"$ref": _REF.format(model=model.__name__)}


_PROBLEM_CONTENT = {PROBLEM: {"schema": reference(Problem)}}
_REFERRED: list[tuple[type[BaseModel], JsonSchemaMode]] = [
    (Problem, "serialization"),
    (BatchTweet, "validation"),
    (RetweetTime, "validation"),
]
_REQUEST_ID = {
    "description": "The request's own X-Request-ID, or a new one; the log has it on every line of the request",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
}
_RETRY_AFTER = {"description": "Seconds to wait before the next try", "schema": {"type": "integer", "minimum": 1}}
_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of the service; not needed where it has none",
}
_COMMON = (Unauthorized, Forbidden, Overloaded, RateLimited, InternalError, StoreDown, TookTooLong)


def answers(*errors: type[ServiceError], common: Iterable[type[ServiceError]] = _COMMON) -> dict[int | str, Any]:
    """A route's `responses`: those of its errors, and of the ones that every route with a key has."""
    by_status = groupby(sorted({*errors, *common}, key=lambda error: (error.status, error.slug)), lambda e: e.status)
    return {status: _answer(list(same)) for status, same in by_status}


def _answer(errors: list[type[ServiceError]]) -> dict[str, Any]:
    """Of errors with one status: by their docstrings, so that the document says what the code says."""
    described = "\n".join(f"- `/problems/{error.slug}`: {error.meaning()}" for error in errors)
    retry = {"Retry-After": _RETRY_AFTER} if all("Retry-After" in error.headers for error in errors) else {}
    challenge = {"WWW-Authenticate": {"schema": {"const": "Bearer"}}} if Unauthorized in errors else {}
    return {"description": described, "content": _PROBLEM_CONTENT, "headers": retry | challenge}


def operation_id(route: APIRoute) -> str:
    """The function's name in camel case: getRecommendations."""
    first, *others = route.name.split("_")
    return first + "".join(word.capitalize() for word in others)


def complete(app: FastAPI) -> None:
    """Let the app's document have the request id, the key's scopes, and the bodies that no route names by its types."""
    written = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(written())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components = document["components"]
    components["headers"] = {HEADER: _REQUEST_ID}
    components["securitySchemes"] = {"key": _KEY}
    _, referred = models_json_schema(_REFERRED, ref_template=_REF)
    components["schemas"] = referred["$defs"] | components["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for response in operation["responses"].values():
                response.setdefault("headers", {})[HEADER] = {"$ref": f"#/components/headers/{HEADER}"}
            if is_guarded(path):
                operation["security"] = [{"key": [needed(method.upper(), path)]}]
    return document
