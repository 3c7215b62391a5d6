"""How the service is served: its server, its log, its start and its end."""

import argparse
import logging
import logging.config
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI

from contract.cli.options import environment
from contract.errors import ContractError
from service.drain import DrainingServer
from service.main import create_app
from service.memory import arrange_heaps
from service.settings import Settings

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "startup": {"()": "service.serving.ShortStartupTraceback"},
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


class StartFailed(ContractError):
    """The service does not listen, and the log says why."""


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


def serve(_: argparse.Namespace) -> None:
    """Serve until told to stop. Raises what ended the start."""
    settings = environment(Settings)
    logging.config.dictConfig(LOGGING)
    arrange_heaps()
    app = create_app(settings)
    server = DrainingServer(server_config(app, settings), app, settings.drain_seconds)
    try:
        with suppress(KeyboardInterrupt):  # raised again by uvicorn once it has shut down
            server.run()
    except SystemExit as ended:  # by uvicorn, of a start that failed
        raise app.state.startup_error or StartFailed(
            f"{settings.host}:{settings.port} cannot be listened on, the log says why: give HOST or PORT another "
            "value, or end what listens there"
        ) from ended
    if not server.started:
        raise StartFailed("told to end before it had started: start it again")
