"""Readers and writers at work on running services."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx

Answer = dict[str, Any]


async def ask(client: httpx.AsyncClient, user: str, k: int = 10) -> Answer:
    response = await client.get(f"/users/{user}/recommendations", params={"k": k})
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    del answer["next_cursor"]  # it has the time in it
    return answer


@asynccontextmanager
async def at_work(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """All of it meanwhile; what one raises is raised at the end, since it is why the rest failed."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended), ended
