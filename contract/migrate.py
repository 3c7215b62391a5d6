"""python -m contract.migrate: make the database, or migrate it to the schema of this code.

It does what `alembic upgrade head` does in the repository, also where only a wheel is installed.
"""

import argparse
import sys
from pathlib import Path

from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from alembic import command
from contract.cli.options import environment
from contract.cli.running import execute
from contract.cli.statuses import table
from contract.cli.terminal import write
from contract.cli.verbs import COMMON, Parser, refuse_unknown_options
from contract.environment import StoreSettings
from contract.errors import ContractError
from contract.passwords import without_passwords
from contract.tables import SCHEMA_REVISION

_FOLDERS = (Path(__file__).with_name("migrations"), Path(__file__).parents[1] / "alembic")
"""Of a wheel, and of the repository (pyproject.toml puts the one into the other)."""


def migrations() -> Path:
    """The folder of the migrations."""
    return next(folder for folder in _FOLDERS if (folder / "versions").is_dir())


class MigrationFailed(ContractError):
    """The database is as it was."""


def migrate() -> None:
    """Bring the database that DATABASE_URL names to this code's schema. Raises MigrationFailed, EnvironmentWrong."""
    environment(StoreSettings)
    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise MigrationFailed(
            f"{error}: the database may be newer than this code: install the release that made it"
        ) from error
    except (SQLAlchemyError, ImportError, ValueError, OSError) as error:
        line = f"the database cannot be migrated ({str(error).splitlines()[0]}): check DATABASE_URL"
        raise MigrationFailed(without_passwords(line)) from error


def main(arguments: list[str] | None = None) -> int:
    """Migrate; returns the exit status."""
    return execute(lambda: _options(arguments), _migrate_and_tell)


def parser() -> Parser:
    """It has but the options of all."""
    made = Parser(
        prog="python -m contract.migrate", description=__doc__, epilog=f"exit statuses:\n{table(sorted(COMMON))}"
    )
    made.add_argument("--debug", action="store_true", help="print the traceback of an error, too")
    return made


def _options(arguments: list[str] | None) -> argparse.Namespace:
    made = parser()
    options, unknown = made.parse_known_args(arguments)
    refuse_unknown_options(made, unknown)
    return options


def _migrate_and_tell(_: argparse.Namespace) -> None:
    migrate()
    write(f"the database has schema {SCHEMA_REVISION}")


if __name__ == "__main__":
    sys.exit(main())
