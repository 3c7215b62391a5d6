"""Asks for a key before anything of a request is read."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Forbidden, RateLimited, Unauthorized
from service.keys import Keys, KeyScope
from service.problems import refusal_of
from service.rates import Rates

READS = ("GET", "HEAD", "OPTIONS")
GUARDED = ("/users", "/tweets", "/models", "/metrics")
"""First parts of the paths that need a key; health and the API's documentation need none."""


class Guard:
    """ASGI middleware: answers 401, 403 and, to a key that asks too often, 429. Keys are those of the app's parts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its key has the scope."""
        if scope["type"] == "http" and scope["path"].startswith(GUARDED):
            keys: Keys = scope["app"].state.parts.keys
            rates: Rates = scope["app"].state.parts.rates
            try:
                headers = Headers(scope=scope)
                if keys.open_door:
                    check_origin(headers)
                key = await keys.check(bearer(headers), needed(scope["method"], scope["path"]))
                await rates.check(key)
            except (Unauthorized, Forbidden, RateLimited) as error:
                await refusal_of(error).response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def check_origin(headers: Headers) -> None:
    """Raises Forbidden where another site's page asks: without keys, a browser on this machine would let it in."""
    origin = headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("Host"):
        raise Forbidden(f"a page of {origin} asks, and there is no key: make one, `python -m service keys create NAME`")


def needed(method: str, path: str) -> KeyScope:
    """GET reads, what changes the active model needs admin, everything else writes."""
    if method in READS:
        return "read"
    return "admin" if path.startswith("/models") else "write"


def bearer(headers: Headers) -> str | None:
    """The key of the header Authorization."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None
