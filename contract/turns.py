"""Short transactions beside a service that writes to the same database."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.errors import StoreUnavailable
from contract.transactions import changing

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.1
_IN_THE_WAY = {"40001", "40P01", "55P03"}
"""Postgres: serialisation failure, deadlock, a lock that was not had in time."""


async def take_turn(
    engine: AsyncEngine,
    work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
    *arguments: P.args,
    **named: P.kwargs,
) -> T:
    """Do some work in a transaction that may hold rows; again, for up to 60 s, where another one is in the way.

    The work may be done several times: what it changes outside the database must bear that. A pause as long as the turn
    follows, for the others: SQLite has no queue, so that without a pause nobody else might find the lock free.
    Raises StoreUnavailable after 60 s.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            async with changing(engine) as connection:
                began = time.monotonic()
                result = await work(connection, *arguments, **named)
            break
        except DBAPIError as error:
            if not _is_in_the_way(error.orig):
                raise
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"the database was locked by others for {PATIENCE_SECONDS:.0f} s: run the same command again"
                ) from error
            await asyncio.sleep(_PAUSE_SECONDS)
    await asyncio.sleep(time.monotonic() - began)
    return result


def _is_in_the_way(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return getattr(error, "sqlstate", None) in _IN_THE_WAY
