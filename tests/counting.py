"""How much of Python a coroutine runs: instructions in this thread, which noise does not change and a change does."""

import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any


async def fewest_instructions(work: Callable[[], Awaitable[object]], times: int) -> int:
    """Of some calls: what other tasks run meanwhile is not in the fewest. What C libraries do in it is not counted."""
    return min([await _instructions(work) for _ in range(times)])


async def _instructions(work: Callable[[], Awaitable[object]]) -> int:
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        await work()
    finally:
        sys.settrace(before)
    return count
