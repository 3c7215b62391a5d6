"""A request's id, time and log line."""

import logging
import re
import time
import uuid
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics
from service.problems import refusal_of

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request at hand; every log line of it carries it."""

_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")
UNMATCHED = "unmatched"
"""The route of what has none, or was refused before one was looked for."""


class Observe:
    """ASGI middleware: takes the client's X-Request-ID or makes one, answers it, and measures every request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        id_ = given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex
        token = request_id.set(id_)
        started = time.perf_counter()
        status = 500
        started_answer = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, started_answer
            if message["type"] == "http.response.start":
                status, started_answer = message["status"], True
                MutableHeaders(scope=message)[HEADER] = id_
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            log.exception("a request failed")
            if started_answer:
                raise
            await refusal_of(error).response()(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = _route(scope)
            self._metrics.request_seconds.labels(scope["method"], route, str(status)).observe(seconds)
            told = {"method": scope["method"], "route": route, "status": status, "seconds": round(seconds, 6)}
            log.info("request", extra=told)
            request_id.reset(token)


def _route(scope: Scope) -> str:
    """What is mounted has no route: the mount's path stands for all of its files."""
    route = scope.get("route")
    return scope.get("root_path") or UNMATCHED if route is None else str(route.path)


class RequestIdFilter(logging.Filter):
    """Puts the request's id on every line that is logged within it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always to be logged."""
        if (id_ := request_id.get()) is not None:
            record.request_id = id_
        return True
