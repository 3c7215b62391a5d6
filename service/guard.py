"""Asks for a key before anything of a request is read."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Forbidden, Unauthorized
from service.keys import Keys, KeyScope
from service.problems import refusal_of

GUARDED = ("/users", "/tweets", "/models", "/metrics")
"""First parts of the paths that need a key; health and the API's documentation need none."""


class Guard:
    """ASGI middleware: answers 401 and 403. The keys are those of the app's running parts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its key has the scope."""
        if scope["type"] == "http" and scope["path"].startswith(GUARDED):
            keys: Keys = scope["app"].state.parts.keys
            try:
                await keys.check(bearer(Headers(scope=scope)), needed(scope["method"], scope["path"]))
            except (Unauthorized, Forbidden) as error:
                await refusal_of(error).response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def needed(method: str, path: str) -> KeyScope:
    """GET reads, what changes the active model needs admin, everything else writes."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return "read"
    return "admin" if path.startswith("/models") else "write"


def bearer(headers: Headers) -> str | None:
    """The key of the header Authorization."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None
