import asyncio
import threading

import pytest

from contract import tasks
from contract.tasks import end, to_its_end


def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_PATIENCE_SECONDS", 0.1)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    async def scenario() -> None:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        await asyncio.wait_for(end(task), 10)
        assert task.cancelled()

    asyncio.run(scenario())
    assert swallowed == 2


def test_what_a_task_does_in_the_end_is_not_cancelled() -> None:
    """As a rollback, which frees locks."""
    rolled_back = False

    async def changes() -> None:
        nonlocal rolled_back
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)
            rolled_back = True

    async def scenario() -> None:
        task = asyncio.create_task(changes())
        await asyncio.sleep(0)
        await end(task)

    asyncio.run(scenario())
    assert rolled_back


@pytest.mark.anyio
async def test_who_is_cancelled_leaves_no_thread_behind() -> None:
    """Twice, too; what it was in goes on holding what it holds until then."""
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(20)
        ended.set()

    task = asyncio.create_task(to_its_end(asyncio.to_thread(work)))
    await asyncio.to_thread(begun.wait)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


@pytest.mark.anyio
async def test_what_a_thread_returns_or_raises_comes_through() -> None:
    assert await to_its_end(asyncio.to_thread(lambda: 3)) == 3
    with pytest.raises(ZeroDivisionError):
        await to_its_end(asyncio.to_thread(lambda: 1 // 0))
