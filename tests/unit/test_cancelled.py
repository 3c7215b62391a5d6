"""A statement that is cancelled within a transaction frees its locks at once, whoever still refers to its cursor."""

import asyncio
import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from contract.tables import create_engine
from contract.transactions import changing

SLOW = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000000) "
    "SELECT a, (SELECT count(*) FROM n) FROM t"
)


@pytest.fixture
def no_collection() -> Iterator[None]:
    """The locks must not wait for the garbage collector."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("seconds", [0.05, 0.2])
def test_sqlite_is_free_after_a_cancellation(tmp_path: Path, seconds: float) -> None:
    file = tmp_path / "some.sqlite3"

    async def scenario() -> asyncio.CancelledError:
        engine = create_engine(f"sqlite+aiosqlite:///{file}")
        async with changing(engine) as connection:
            await connection.execute(text("CREATE TABLE t (a INTEGER)"))
            await connection.execute(text("INSERT INTO t VALUES (1), (2), (3)"))

        async def change() -> None:
            async with changing(engine) as connection:
                await connection.execute(text("DELETE FROM t WHERE a = 1"))
                await connection.execute(text(SLOW))

        task = asyncio.create_task(change())
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        await engine.dispose()
        return cancelled.value

    kept = asyncio.run(scenario())  # and with it the frames in which the cursor is
    other = sqlite3.connect(file, isolation_level=None, timeout=0.5)
    other.execute("BEGIN IMMEDIATE")
    assert other.execute("SELECT count(*) FROM t").fetchone() == (3,)
    other.execute("ROLLBACK")
    other.close()
    assert kept is not None
