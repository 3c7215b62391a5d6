"""Headers that tell browsers to be careful."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.guard import is_guarded

ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
OF_PAGES = [
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-frame-options", b"DENY"),
]
"""The API's page carries its script in itself, hence 'unsafe-inline'; nothing comes from another host."""
OF_OTHERS = [(b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox")]
"""Nothing that a picture or an answer might contain is run, whoever opens it as a page."""
OF_GUARDED = [(b"cache-control", b"no-store")]
"""What needs a key is kept by no cache, but where the answer itself says otherwise."""


class SecurityHeaders:
    """ASGI middleware: says of every answer that it is what it says it is, and what may be done with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                is_page = headers.get(b"content-type", b"").startswith(b"text/html")
                more = [*ALWAYS, *(OF_PAGES if is_page else OF_OTHERS)]
                if b"cache-control" not in headers and is_guarded(scope["path"]):
                    more += OF_GUARDED
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self._app(scope, receive, send_with_headers)
