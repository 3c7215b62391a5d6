"""python -m contract.migrate: make the database, or migrate it to the schema of this code.

It does what `alembic upgrade head` does in the repository, also where only a wheel is installed.
"""

import argparse
import sys
from pathlib import Path

from alembic.config import Config
from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from alembic import command
from contract.passwords import without_passwords
from contract.tables import SCHEMA_REVISION

_FOLDERS = (Path(__file__).with_name("migrations"), Path(__file__).parents[1] / "alembic")
"""Of a wheel, and of the repository (pyproject.toml puts the one into the other)."""


def migrations() -> Path:
    """The folder of the migrations."""
    return next(folder for folder in _FOLDERS if (folder / "versions").is_dir())


def migrate() -> None:
    """Bring the database that DATABASE_URL names to this code's schema."""
    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")


def main(arguments: list[str] | None = None) -> int:
    """Migrate; what fails is one line on standard error and exit status 1 (2: of the command line)."""
    parser().parse_args(arguments)
    try:
        migrate()
    except ValidationError as error:
        first = error.errors()[0]
        return _failed(f"{'.'.join(map(str, first['loc'])).upper()}: {first['msg']}")
    except CommandError as error:
        return _failed(f"{error}: the database may be newer than this code: install the release that made it")
    except (SQLAlchemyError, ImportError, ValueError, OSError) as error:
        return _failed(f"the database cannot be migrated ({str(error).splitlines()[0]}): check DATABASE_URL")
    print(f"the database has schema {SCHEMA_REVISION}")
    return 0


def parser() -> argparse.ArgumentParser:
    """It has no options."""
    return argparse.ArgumentParser(prog="python -m contract.migrate", description=__doc__)


def _failed(line: str) -> int:
    print(f"error: {without_passwords(line)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
