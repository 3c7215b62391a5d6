"""Where the stores are: the environment variables that trainer and service share."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class StoreSettings(BaseSettings):
    """Read from the environment. What is not set is embedded and lives under `var/`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    database_url: str | None = Field(
        default=None, description="postgresql://user:password@host/name or sqlite:///file; unset: SQLite under VAR_DIR"
    )
    redis_url: str | None = Field(
        default=None,
        description="redis://..., or redis+cluster://host:port,host:port; unset: a Valkey server under VAR_DIR",
    )
    redis_namespace: str = Field(
        default="imagetweets", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="first part of every Redis key"
    )
    redis_parts: int = Field(
        default=16, ge=1, le=256, description="on a Redis Cluster: parts that keys are divided into, for good"
    )
    blob_url: str | None = Field(
        default=None,
        description="fsspec URL for pictures; s3://... and others need their fsspec package; unset: under VAR_DIR",
    )
    models_dir: Path = Field(default=Path("exported_models"), description="exported model versions")
    models_url: str | None = Field(
        default=None,
        description="fsspec URL where published versions are put, for machines that do not share MODELS_DIR; unset: "
        "they do",
    )
    var_dir: Path = Field(default=Path("var"), description="everything that is embedded, cached or unfinished")

    @property
    def sqlalchemy_url(self) -> str:
        """The database's URL with the async driver that is installed here."""
        url = self.database_url or f"sqlite:///{(self.var_dir / 'recommender.sqlite3').resolve()}"
        for plain, driver in (("postgresql://", "postgresql+psycopg://"), ("postgres://", "postgresql+psycopg://")):
            url = url.replace(plain, driver, 1) if url.startswith(plain) else url
        return url.replace("sqlite://", "sqlite+aiosqlite://", 1) if url.startswith("sqlite://") else url

    @property
    def image_store_url(self) -> str:
        """The blob store's URL."""
        return self.blob_url or f"file://{(self.var_dir / 'images').resolve()}"
