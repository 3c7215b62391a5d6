"""Model versions: which there are, which serves, and which can serve at once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.tables import ModelVersion
from contract.vectors import VectorStore

KEPT_VERSIONS = 2
"""The one that serves and the one before it keep their vectors."""


async def activate(engine: AsyncEngine, vectors: VectorStore, version: str) -> None:
    """Record it in SQL, then move the pointer."""
    async with engine.begin() as connection:
        await connection.execute(
            update(ModelVersion).where(ModelVersion.version == version).values(activated_at=datetime.now(UTC))
        )
    await vectors.activate(version)


async def latest_first(connection: AsyncConnection) -> Sequence[Any]:
    """All rows of model_versions, the one activated last first; those that never were come last."""
    order = ModelVersion.activated_at.desc().nulls_last(), ModelVersion.created_at.desc()
    return (await connection.execute(select(ModelVersion).order_by(*order))).all()
