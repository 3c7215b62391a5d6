"""python -m service: serve until told to stop."""

import logging
import logging.config
import sys
from contextlib import suppress
from typing import Any

import uvicorn
from pydantic import ValidationError

from service.main import create_app
from service.settings import Settings

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"startup": {"()": "service.__main__.HideStartupTraceback"}},
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["startup"]}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}


class HideStartupTraceback(logging.Filter):
    """Drops the traceback that uvicorn logs of a failed start: `main` says in one line what is wrong."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        return not (record.name == "uvicorn.error" and record.getMessage().startswith("Traceback"))


def main() -> int:
    """Serve; a start that fails is one line on standard error and exit status 1."""
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        print(f"error: {f'{name}: ' if name else ''}{first['msg']}", file=sys.stderr)
        return 1
    logging.config.dictConfig(LOGGING)
    app = create_app(settings)
    config = uvicorn.Config(app, host=settings.host, port=settings.port, log_config=None, server_header=False)
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):  # raised again by uvicorn once it has shut down
        server.run()
    if app.state.startup_error is not None:
        print(f"error: {app.state.startup_error}", file=sys.stderr)
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
