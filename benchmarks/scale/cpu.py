"""Processor time of other processes, to the nanosecond once they sleep (Linux' /proc/PID/task/TID/schedstat)."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from redis import Redis

T = TypeVar("T")

QUIET = 0.05
"""Of a core that all else on the machine may use meanwhile."""
_PATIENCE = 2


def cpu_seconds(pid: int) -> float:
    """Of all threads that a process has now."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text("ascii").split()[0]) for thread in threads) / 1e9


def pid_of(redis: Redis) -> int:
    """Of a Redis server on this machine."""
    info = redis.info("server")
    assert isinstance(info, dict)  # noqa: S101 - typed for both clients
    return int(info["process_id"])


def quiet_rounds(measure: Callable[[], T], pids: Sequence[int], rounds: int) -> list[T]:
    """So many rounds while nobody else was at work; after twice as many those that were disturbed least."""
    found: list[tuple[float, T]] = []
    while len(found) < _PATIENCE * rounds and sum(others < QUIET for others, _ in found) < rounds:
        started, before = time.perf_counter(), _others(pids)
        one = measure()
        found.append(((_others(pids) - before) / (time.perf_counter() - started), one))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])[:rounds]]


def _others(pids: Sequence[int]) -> float:
    """Seconds of all processors that were not idle, without some processes and this one."""
    ticks = [int(word) for word in Path("/proc/stat").read_text("ascii").splitlines()[0].split()[1:9]]
    busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # without idle, waiting for disks
    return busy - sum(map(cpu_seconds, pids)) - time.process_time()
