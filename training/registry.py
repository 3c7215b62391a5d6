"""What SQL knows of versions before they serve."""

from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.artifact import Manifest
from contract.tables import ModelVersion


async def register(engine: AsyncEngine, manifest: Manifest, gate: dict[str, Any] | None) -> None:
    """A row in model_versions, not active yet; `gate`: how it did beside the active one, kept with its metrics."""
    metrics: dict[str, Any] = {**manifest.metrics} if gate is None else {**manifest.metrics, "gate": gate}
    async with engine.begin() as connection:
        known = await connection.scalar(select(ModelVersion.version).where(ModelVersion.version == manifest.version))
        if known is not None and gate is not None:
            mine = update(ModelVersion).where(ModelVersion.version == manifest.version)
            await connection.execute(mine.values(metrics=metrics))
        if known is None:
            values = {"version": manifest.version, "created_at": manifest.created_at, "metrics": metrics}
            await connection.execute(insert(ModelVersion), values)
