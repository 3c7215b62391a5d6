"""Headers that tell browsers to be careful."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALWAYS = [(b"x-content-type-options", b"nosniff")]
OF_PAGES = [
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
"""The API's page carries its script in itself, hence 'unsafe-inline'; nothing comes from another host."""


class SecurityHeaders:
    """ASGI middleware: says of every answer that it is what it says it is, and of pages what they may do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                is_page = any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers)
                message["headers"] = [*headers, *ALWAYS, *(OF_PAGES if is_page else ())]
            await send(message)

        await self._app(scope, receive, send_with_headers)
