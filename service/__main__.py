"""python -m service: serve until told to stop. python -m service keys: make, list and revoke keys."""

import argparse
import asyncio
import logging
import logging.config
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.errors import ContractError
from contract.release import NAME, release
from contract.tables import open_database
from service.drain import DrainingServer
from service.keys import SCOPES, StoredKey, create_key, list_keys, revoke_key
from service.main import create_app
from service.memory import arrange_heaps
from service.settings import Settings

T = TypeVar("T")

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "startup": {"()": "service.__main__.ShortStartupTraceback"},
        "request_id": {"()": "service.observe.RequestIdFilter"},
    },
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        }
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["startup", "request_id"]}
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
}


class ShortStartupTraceback(logging.Filter):
    """Leaves the last line of the traceback that uvicorn logs of a failed start."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always to be logged."""
        if record.name == "uvicorn.error" and (message := record.getMessage()).startswith("Traceback"):
            record.msg, record.args = message.strip().splitlines()[-1], ()
        return True


def main(arguments: list[str] | None = None) -> int:
    """Run a command; what fails is one line on standard error and exit status 1 (2: of the command line)."""
    options = parser().parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        print(f"error: {f'{name}: ' if name else ''}{first['msg']}", file=sys.stderr)
        return 1
    run: Callable[[Settings, argparse.Namespace], int] = options.run
    return run(settings, options)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    root = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    root.add_argument("--version", action="version", version=f"{NAME} {release()}")
    root.set_defaults(run=serve)
    commands = root.add_subparsers(metavar="COMMAND", help="without one: serve")
    keys = commands.add_parser("keys", help="bearer keys of the service").add_subparsers(
        required=True, metavar="ACTION"
    )
    create = keys.add_parser("create", help="make a key and print it, this once")
    create.add_argument("name", help="whose it is, up to 64 characters")
    create.add_argument("--scopes", default="read", help=f"split by commas: {', '.join(SCOPES)} (default: read)")
    create.add_argument("--per-minute", type=int, metavar="N", help="how often it may ask (default: no limit)")
    create.set_defaults(run=create_a_key)
    keys.add_parser("list", help="keys that are not revoked, without their secrets").set_defaults(run=list_all_keys)
    revoke = keys.add_parser("revoke", help="end a key, within a second and for good")
    revoke.add_argument("key_id")
    revoke.set_defaults(run=revoke_a_key)
    return root


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How the service is served."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        loop="asyncio",  # uvloop leaves some connections unread for seconds where many ask (docs/experiments.md)
    )


def serve(settings: Settings, _: argparse.Namespace) -> int:
    """Serve until told to stop."""
    logging.config.dictConfig(LOGGING)
    arrange_heaps()
    app = create_app(settings)
    server = DrainingServer(server_config(app, settings), app, settings.drain_seconds)
    with suppress(KeyboardInterrupt):  # raised again by uvicorn once it has shut down
        server.run()
    if not server.started:
        print(f"error: {app.state.startup_error or 'the service did not start; the log says why'}", file=sys.stderr)
    return 0 if server.started else 1


def create_a_key(settings: Settings, options: argparse.Namespace) -> int:
    """Print the new key."""
    scopes = [scope.strip() for scope in options.scopes.split(",") if scope.strip()]
    return _with_database(settings, lambda engine: create_key(engine, options.name, scopes, options.per_minute), print)


def list_all_keys(settings: Settings, _: argparse.Namespace) -> int:
    """Print a line a key."""

    def show(keys: list[StoredKey]) -> None:
        for key in (key for key in keys if not key.revoked):
            rate = "" if key.per_minute is None else f"  {key.per_minute:,} a minute"
            scopes = ",".join(sorted(key.scopes))
            print(f"{key.key_id}  {key.created_at:%Y-%m-%d %H:%M}  {scopes:16}  {key.name}{rate}")

    return _with_database(settings, list_keys, show)


def revoke_a_key(settings: Settings, options: argparse.Namespace) -> int:
    """Say that it is done."""
    done = f"key {options.key_id} is revoked"
    return _with_database(settings, lambda engine: revoke_key(engine, options.key_id), lambda _: print(done))


def _with_database(settings: Settings, work: Callable[[AsyncEngine], Awaitable[T]], tell: Callable[[T], None]) -> int:
    async def run() -> T:
        async with open_database(settings.sqlalchemy_url) as engine:
            return await work(engine)

    try:
        tell(asyncio.run(run()))
    except (ContractError, SQLAlchemyError) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
