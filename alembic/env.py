"""Runs migrations on the database that the service and the trainer use."""

from typing import Any

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.engine import URL, Engine

from alembic import context
from contract.environment import StoreSettings
from contract.tables import Base


def synchronous(url: URL) -> URL:
    """SQLite's synchronous driver; psycopg's is the same for both."""
    return url.set(drivername="sqlite") if url.drivername.startswith("sqlite") else url


def in_one_transaction(engine: Engine) -> None:
    """SQLite can change a schema within a transaction; Python's driver would end it before each such statement."""

    @event.listens_for(engine, "connect")
    def leave_it(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def run() -> None:
    """Migrate in one transaction, or print the SQL with `--sql`."""
    settings = StoreSettings()
    url = synchronous(make_url(settings.sqlalchemy_url))
    if context.is_offline_mode():
        context.configure(url=url, target_metadata=Base.metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
        return
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    if url.drivername == "sqlite":
        in_one_transaction(engine)
    try:
        with engine.connect() as connection:
            context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()


run()
