"""Refuses bodies that are too large before they are read."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract.preprocessing import MAX_IMAGE_BYTES
from service.errors import BodyTooLarge
from service.problems import Refusal

MAX_BODY_BYTES = MAX_IMAGE_BYTES + 100_000
MAX_BATCH_BODY_BYTES = 64_000_000
BATCH_PATH = "/tweets:batch"


class BodyLimit:
    """ASGI middleware: answers 413 by the announced length or, where none is announced, once the limit is passed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, reading at most MAX_BODY_BYTES of it (MAX_BATCH_BODY_BYTES of a batch)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = MAX_BATCH_BODY_BYTES if scope["path"] == BATCH_PATH else MAX_BODY_BYTES
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > most:
            await _refuse(most, scope, receive, send)
            return
        read = 0
        refused = False

        async def limited_receive() -> Message:
            nonlocal read, refused
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                refused = True
                await _refuse(most, scope, receive, send)
                return {"type": "http.disconnect"}
            return message

        async def send_unless_refused(message: Message) -> None:
            if not refused:
                await send(message)

        await self._app(scope, limited_receive, send_unless_refused)


async def _refuse(most: int, scope: Scope, receive: Receive, send: Send) -> None:
    detail = f"the body has more than {most:,} bytes: send images of at most {MAX_IMAGE_BYTES:,} each"
    refusal = Refusal(BodyTooLarge.status, BodyTooLarge.slug, detail, {"Connection": "close"})
    await refusal.response()(scope, receive, send)
