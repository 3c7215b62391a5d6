"""Headers that tell browsers to be careful."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.guard import PAGES, is_guarded

ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_IN_NO_FRAME = (b"x-frame-options", b"DENY")
OF_PAGES = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    _IN_NO_FRAME,
]
"""Scripts and styles are files of the service; pictures that need a key are fetched first, hence blob."""
OF_DOCS = [
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    _IN_NO_FRAME,
]
"""The API's page carries its script in itself, hence 'unsafe-inline'; nothing comes from another host."""
OF_OTHERS = [(b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox")]
"""Nothing that a picture or an answer might contain is run, whoever opens it as a page."""
OF_GUARDED = [(b"cache-control", b"no-store")]
"""What needs a key is kept by no cache, but where the answer itself says otherwise."""


def _policy(path: str, content_type: bytes) -> list[tuple[bytes, bytes]]:
    if not content_type.startswith(b"text/html"):
        return OF_OTHERS
    return OF_PAGES if path in PAGES else OF_DOCS


class SecurityHeaders:
    """ASGI middleware: says of every answer that it is what it says it is, and what may be done with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                more = [*ALWAYS, *_policy(scope["path"], headers.get(b"content-type", b""))]
                if b"cache-control" not in headers and is_guarded(scope["path"]):
                    more += OF_GUARDED
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self._app(scope, receive, send_with_headers)
