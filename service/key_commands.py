"""What the verbs for keys do."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from contract.cli.options import UsageWrong, environment
from contract.tables import open_database
from service.cli import Key, KeyMade, KeyRevoked, KeysListed
from service.keys import KeyRejected, check_new_key, create_key, list_keys, revoke_key
from service.settings import Settings

T = TypeVar("T")


def create(options: argparse.Namespace) -> KeyMade:
    """The new key. Raises UsageWrong for one that cannot be, before the database is opened."""
    scopes = [scope.strip() for scope in options.scopes.split(",") if scope.strip()]
    try:
        check_new_key(options.name, scopes, options.per_minute)
    except KeyRejected as error:
        raise UsageWrong(str(error)) from error
    return KeyMade(key=_with_database(lambda engine: create_key(engine, options.name, scopes, options.per_minute)))


def list_all(_: argparse.Namespace) -> KeysListed:
    """Those that are not revoked."""
    return KeysListed(
        keys=[
            Key(
                key_id=key.key_id,
                name=key.name,
                scopes=sorted(key.scopes),
                created_at=key.created_at,
                per_minute=key.per_minute,
            )
            for key in _with_database(list_keys)
            if not key.revoked
        ]
    )


def revoke(options: argparse.Namespace) -> KeyRevoked:
    """End one."""
    _with_database(lambda engine: revoke_key(engine, options.key_id))
    return KeyRevoked(key_id=options.key_id)


def _with_database(work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_database(environment(Settings).sqlalchemy_url) as engine:
            return await work(engine)

    return asyncio.run(run())
