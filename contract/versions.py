"""Model versions: which there are, which serves, and which can serve at once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.artifact import Artifact
from contract.errors import VersionGone
from contract.marks import Mark
from contract.tables import ModelVersion
from contract.vectors import VectorStore

_PROBED = 10
KEPT_VERSIONS = 2
"""The one that serves and the one before it keep their vectors."""


async def hold_versions(connection: AsyncConnection) -> Sequence[Any]:
    """All rows of model_versions as `latest_first` has them, held: nobody activates or forgets one meanwhile."""
    await connection.execute(select(ModelVersion.version).order_by(ModelVersion.version).with_for_update())
    return await latest_first(connection)


async def latest_first(connection: AsyncConnection) -> Sequence[Any]:
    """All rows of model_versions, the one activated last first; those that never were come last."""
    order = ModelVersion.activated_at.desc().nulls_last(), ModelVersion.created_at.desc()
    return (await connection.execute(select(ModelVersion).order_by(*order))).all()


def kept_versions(known: Sequence[Any]) -> set[str]:
    """Those that still have their vectors, of all versions as `latest_first` has them."""
    return {row.version for row in known[:KEPT_VERSIONS] if row.activated_at is not None}


def activated_last(known: Sequence[Any]) -> str | None:
    """The one that serves, by SQL, of all versions as `latest_first` has them; None where none ever did."""
    return known[0].version if known and known[0].activated_at is not None else None


def version_before(active: str | None, known: Sequence[Any]) -> str | None:
    """The one that was activated last but for the active one, of all versions as `latest_first` has them."""
    return next((row.version for row in known if row.activated_at is not None and row.version != active), None)


async def has_user_vectors(exported: Artifact, vectors: VectorStore) -> bool:
    """Whether Redis has a version's user vectors: some are looked at."""
    some = exported.user_ids[:_PROBED]
    found, _ = await vectors.users(exported.manifest.version, some, exported.manifest.dim)
    return found == some


async def activate(connection: AsyncConnection, vectors: VectorStore, version: str, mark: Mark | None = None) -> None:
    """Record it in SQL and move the pointer; within a transaction that holds the versions.

    Raises VersionGone where SQL has no such version, StoreUnavailable where Redis lost what it had.
    """
    activated = update(ModelVersion).where(ModelVersion.version == version).values(activated_at=datetime.now(UTC))
    if not (await connection.execute(activated)).rowcount:
        raise VersionGone(f"version {version} was deleted meanwhile: retrain, or publish its folder if that is there")
    await vectors.activate(version, mark)
