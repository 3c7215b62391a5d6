"""PostgreSQL as a service meets it: by a role for which limits hold, on a database whose settings can be changed."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from sqlalchemy import make_url


@contextmanager
def owned_by_a_user(url: str) -> Iterator[str]:
    """A role (its password is its name) that may do all in a database, and nothing else: limits hold for it."""
    role = f"itr_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(role)))
        admin.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}").format(sql.Identifier(role)))
        try:
            yield role
        finally:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,))
            admin.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


@dataclass(frozen=True)
class Administered:
    """A database, by the URL of one who may change its settings."""

    url: str

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """It takes no changes meanwhile."""
        with self._set("SET default_transaction_read_only = on", "RESET default_transaction_read_only"):
            yield

    @contextmanager
    def full_up(self) -> Iterator[None]:
        """It takes no connections meanwhile, and those that it had are ended."""
        with self._set("CONNECTION LIMIT 0", "CONNECTION LIMIT -1"):
            yield

    @contextmanager
    def _set(self, setting: str, back: str) -> Iterator[None]:
        self._alter(setting)
        try:
            yield
        finally:
            self._alter(back)

    def _alter(self, setting: str) -> None:
        name = make_url(self.url).database
        elsewhere = make_url(self.url).set(drivername="postgresql", database="postgres")
        with psycopg.connect(elsewhere.render_as_string(hide_password=False), autocommit=True) as admin:
            admin.execute(sql.SQL(f"ALTER DATABASE {{}} {setting}").format(sql.Identifier(name or "")))
            others = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename <> current_user"
            )
            admin.execute(others, (name,))
