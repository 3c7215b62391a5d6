"""/models: which versions there are, and going to another one or back."""

from collections.abc import Sequence
from typing import Any

from contract.errors import ContractError
from contract.transactions import changing
from contract.versions import (
    activate,
    has_user_vectors,
    hold_versions,
    kept_versions,
    latest_first,
    version_before,
)
from service.active import ActiveModel
from service.errors import NotReady, UnknownVersion, VersionUnfit
from service.ingest import Ingest
from service.schemas import Model, Models


async def list_versions(parts: Ingest) -> Models:
    """All versions, the one activated last first."""
    async with parts.database.engine.connect() as connection:
        known = await latest_first(connection)
    kept = kept_versions(known)
    return Models(
        active=await parts.vectors.active_version(),
        models=[
            Model(
                version=row.version,
                created_at=row.created_at,
                activated_at=row.activated_at,
                kept=row.version in kept,
                metrics=row.metrics,
            )
            for row in known
        ],
    )


async def activate_version(version: str, parts: Ingest) -> Models:
    """Let a version serve whose vectors are kept: every process goes over within a second.

    Raises UnknownVersion; VersionUnfit where its vectors are gone or its files do not verify; NotReady where Redis lost
    its contents.
    """
    async with parts.database.engine.connect() as connection:
        check_kept(version, await latest_first(connection))
    if await parts.vectors.active_version() is None:
        raise NotReady("Redis lost its contents and gets them back: try again when /health/ready says that it is ok")
    try:
        async with parts.models.switching(version) as model, changing(parts.database.engine) as connection:
            check_kept(version, await hold_versions(connection))
            await check_vectors(model, parts)
            await activate(connection, parts.vectors, version)
    except ContractError as error:
        raise VersionUnfit(f"version {version} cannot serve: {error}") from error
    parts.behind.set()
    return await list_versions(parts)


def check_kept(version: str, known: Sequence[Any]) -> None:
    """Raises UnknownVersion, or VersionUnfit where its vectors are deleted."""
    if version not in {row.version for row in known}:
        raise UnknownVersion(f"version {version} is not known: GET /models lists all")
    if version not in kept_versions(known):
        raise VersionUnfit(f"version {version} has no vectors any more: run `python -m training publish {version}`")


async def check_vectors(model: ActiveModel, parts: Ingest) -> None:
    """Raises VersionUnfit where Redis lost the version's user vectors."""
    if not await has_user_vectors(model.artifact, parts.vectors):
        raise VersionUnfit(f"Redis has no vectors of {model.version}: run `python -m training publish {model.version}`")


async def roll_back(parts: Ingest) -> Models:
    """Let the version before the active one serve. Raises VersionUnfit where there is none."""
    active = await parts.vectors.active_version()
    async with parts.database.engine.connect() as connection:
        before = version_before(active, await latest_first(connection))
    if before is None:
        raise VersionUnfit("there is no version before the active one")
    return await activate_version(before, parts)
