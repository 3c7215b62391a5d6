"""/models: which versions there are, and going to another one or back."""

from contract.errors import ContractError
from contract.versions import KEPT_VERSIONS, activate, latest_first
from service.errors import UnknownVersion, VersionUnfit
from service.ingest import Ingest
from service.schemas import Model, Models


async def list_versions(parts: Ingest) -> Models:
    """All versions, the one activated last first."""
    async with parts.database.engine.connect() as connection:
        known = await latest_first(connection)
    return Models(
        active=await parts.vectors.active_version(),
        models=[
            Model(
                version=row.version,
                created_at=row.created_at,
                activated_at=row.activated_at,
                kept=place < KEPT_VERSIONS and row.activated_at is not None,
                metrics=row.metrics,
            )
            for place, row in enumerate(known)
        ],
    )


async def activate_version(version: str, parts: Ingest) -> Models:
    """Let a version serve whose vectors are kept: every process goes over within a second.

    Raises UnknownVersion; VersionUnfit where its vectors are gone or its files do not verify.
    """
    async with parts.database.engine.connect() as connection:
        known = await latest_first(connection)
    places = {row.version: place for place, row in enumerate(known)}
    if version not in places:
        raise UnknownVersion(f"version {version} is not known: GET /models lists all")
    row = known[places[version]]
    if places[version] >= KEPT_VERSIONS or row.activated_at is None:
        raise VersionUnfit(f"version {version} has no vectors any more: run `python -m training publish {version}`")
    try:
        await parts.models.verify(version)
    except ContractError as error:
        raise VersionUnfit(f"version {version} cannot serve: {error}") from error
    await activate(parts.database.engine, parts.vectors, version)
    await parts.models.refresh()
    parts.behind.set()
    return await list_versions(parts)


async def roll_back(parts: Ingest) -> Models:
    """Let the version before the active one serve. Raises VersionUnfit where there is none."""
    active = await parts.vectors.active_version()
    async with parts.database.engine.connect() as connection:
        known = [row for row in await latest_first(connection) if row.activated_at is not None]
    before = next((row.version for row in known if row.version != active), None)
    if before is None:
        raise VersionUnfit("there is no version before the active one")
    return await activate_version(before, parts)
