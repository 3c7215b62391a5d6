"""Asks for a key before anything of a request is read."""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Forbidden, RateLimited, Unauthorized
from service.keys import Keys
from service.problems import turn_away
from service.rates import Rates
from service.room import Pacer, caller
from service.scopes import KeyScope

READS = ("GET", "HEAD", "OPTIONS")
OPERATOR = "/ops/"
"""First part of the paths that are an operator's."""
OPEN = ("/health/", "/docs", "/redoc", "/openapi.json", "/static-offline-docs/", "/web/")
"""First parts of the paths that need no key: health, the API's documentation, what pages consist of."""
PAGES = ("/", "/ops")
"""Pages: they have no data, and ask for a key where one is needed."""
_OF_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


def is_guarded(path: str) -> bool:
    """Whether it needs a key."""
    return path not in PAGES and not path.startswith(OPEN)


class Guard:
    """ASGI middleware: answers 401, 403 and, to a key that asks too often, 429. Keys are those of the app's parts.

    Who asks is `service.room.caller` from then on.
    """

    def __init__(self, app: ASGIApp, pacer: Pacer) -> None:
        self._app, self._pacer = app, pacer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its key has the scope."""
        if scope["type"] != "http" or not is_guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            key_id = await _checked(scope)
        except (Unauthorized, Forbidden, RateLimited) as error:
            await self._pacer.pace()
            await turn_away(error, scope, receive, send)
            return
        token = caller.set(key_id)
        try:
            await self._app(scope, receive, send)
        finally:
            caller.reset(token)


async def _checked(scope: Scope) -> str:
    keys: Keys = scope["app"].state.parts.keys
    rates: Rates = scope["app"].state.parts.rates
    headers = Headers(scope=scope)
    if keys.open_door:
        check_neighbour(headers)
    key = await keys.check(bearer(headers), needed(scope["method"], scope["path"]))
    await rates.check(key)
    return key.key_id if key else ""


def check_neighbour(headers: Headers) -> None:
    """Raises Forbidden where another site's page asks: without keys, a browser on this machine would let it in.

    A name that is not this machine's own is refused, too: its owner may have it point here (DNS rebinding). So is what
    a proxy passes on, which may come from anywhere.
    """
    if stranger := _stranger(headers):
        raise Forbidden(
            f"{stranger} asks, and there is no key: ask http://127.0.0.1, or make a key, "
            "`python -m service keys create NAME`"
        )


def _stranger(headers: Headers) -> str:
    origin, host, site = headers.get("Origin"), headers.get("Host", ""), headers.get("Sec-Fetch-Site")
    for name in _OF_PROXIES:
        if name in headers:
            return f"a proxy ({name})"
    if site in ("cross-site", "same-site"):
        return f"a page of {origin or 'another site'}"
    if not _is_loopback(host) or (origin is not None and origin.partition("://")[2] != host):
        return f"a page of {origin or host}"
    return ""


@lru_cache(maxsize=64)
def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def needed(method: str, path: str) -> KeyScope:
    """GET reads, what changes the active model or is an operator's needs admin, everything else writes."""
    if path.startswith(OPERATOR):
        return "admin"
    if method in READS:
        return "read"
    return "admin" if path.startswith("/models") else "write"


def bearer(headers: Headers) -> str | None:
    """The key of the header Authorization."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None
