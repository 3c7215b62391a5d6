"""Runs migrations on the database that the service and the trainer use."""

from sqlalchemy import create_engine, make_url
from sqlalchemy.engine import URL

from alembic import context
from contract.environment import StoreSettings
from contract.tables import Base


def synchronous(url: URL) -> URL:
    """SQLite's synchronous driver; psycopg's is the same for both."""
    return url.set(drivername="sqlite") if url.drivername.startswith("sqlite") else url


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
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
