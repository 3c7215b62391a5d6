"""Model versions: which there are, which serves, and which can serve at once."""

import asyncio
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.artifact import Artifact
from contract.errors import VersionGone, VersionServes
from contract.marks import Mark
from contract.tables import ModelVersion, TweetVector
from contract.transactions import changing
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


async def delete_version(engine: AsyncEngine, vectors: VectorStore, models_dir: Path, version: str) -> None:
    """Remove a version that does not serve: its vectors, what SQL knows of it, and its folder, that last.

    Killed in between, the same call goes on. Raises VersionServes.
    """
    async with changing(engine) as connection:
        if version in (activated_last(await hold_versions(connection)), await vectors.active_version()):
            raise VersionServes(f"version {version} serves: activate another one first")
        await connection.execute(delete(TweetVector).where(TweetVector.version == version))
        await connection.execute(delete(ModelVersion).where(ModelVersion.version == version))
        await vectors.delete_version(version)
    if (models_dir / version).exists():
        await asyncio.to_thread(shutil.rmtree, models_dir / version)


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
