"""A request that takes too long is answered in time, whatever it waits for."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from service import deadline
from service.deadline import Deadline

pytestmark = pytest.mark.anyio


class App:
    """Waits until told, and does not end at once where it is cancelled; what it sends then is too late."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] == "/fails":
            raise ValueError("as before")
        if scope["path"] != "/quick":
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                await self.may_go_on.wait()
                self.ended.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    for name in ("READ_SECONDS", "WRITE_SECONDS", "BATCH_SECONDS"):
        monkeypatch.setattr(deadline, name, 0.2)
    return App()


async def ask(app: App, method: str, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(Deadline(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.request(method, path)


@pytest.mark.parametrize(("method", "path"), [("GET", "/users"), ("PUT", "/users"), ("POST", "/tweets:batch")])
async def test_what_takes_too_long_is_answered_in_time(app: App, method: str, path: str) -> None:
    answer = await ask(app, method, path)
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["type"]) == (503, "/problems/took-too-long")
    assert answer.headers["retry-after"] == "5"
    assert not app.ended.is_set()  # nobody waited for its end
    app.may_go_on.set()
    await asyncio.wait_for(app.ended.wait(), 5)


async def test_what_is_quick_is_passed_on(app: App) -> None:
    answer = await ask(app, "GET", "/quick")
    assert (answer.status_code, answer.text) == (200, "done")


async def test_what_fails_fails_as_before(app: App) -> None:
    with pytest.raises(ValueError, match="as before"):
        await ask(app, "GET", "/fails")
