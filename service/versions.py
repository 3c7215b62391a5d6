"""/models: which versions there are, and what can be done with them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from contract import versions
from contract.artifact import Artifact
from contract.errors import ContractError, StoreUnavailable
from contract.runtime import verify_folder
from contract.transactions import changing
from contract.versions import (
    activate,
    activated_last,
    end_trial,
    has_user_vectors,
    hold_versions,
    kept_versions,
    known_versions,
    retweets_of,
    row_on_trial,
    start_trial,
    version_before,
)
from service.errors import NotReady, UnknownVersion, VersionUnfit
from service.ingest import Ingest
from service.schemas import ArmOfTrial, Model, ModelDetail, Models, Rebuilding, Trial, Verified


async def list_versions(parts: Ingest) -> Models:
    """All versions, the one activated last first."""
    known = await known_versions(parts.database.engine)
    kept = kept_versions(known)
    models = [Model(**told(row, kept)) for row in known]
    return Models(active=await parts.vectors.active_version(), trial=await trial_that_runs(known, parts), models=models)


async def trial_that_runs(known: Sequence[Any], parts: Ingest) -> Trial | None:
    """With what both versions did in it."""
    row = row_on_trial(known)
    if row is None:
        return None
    versions = [version for version in (activated_last(known), row.version) if version is not None]
    async with parts.database.engine.connect() as connection:
        arms = [
            ArmOfTrial(
                version=version,
                retweets=await retweets_of(connection, version, row.on_trial_since),
                **await parts.recommended.totals(version),
            )
            for version in versions
        ]
    return Trial(version=row.version, share=row.share, since=row.on_trial_since, arms=arms)


async def put_on_trial(version: str, share: float, parts: Ingest) -> Models:
    """Let a kept version serve a share of the users. Raises UnknownVersion, VersionUnfit, NotReady."""
    await check_whole(parts)
    check_kept(version, await known_versions(parts.database.engine))
    with unfit(version):
        exported, _ = await asyncio.to_thread(verify, version, parts)
        async with changing(parts.database.engine) as connection:
            check_kept(version, await hold_versions(connection))
            await check_vectors(exported, parts)
            await start_trial(connection, parts.vectors, parts.recommended, version, share)
    await parts.models.refresh_trial_if_it_loads()
    parts.behind.set()
    return await list_versions(parts)


async def stop_trial(parts: Ingest) -> Models:
    """Let the active version serve everybody again; where none is on trial nothing changes."""
    async with changing(parts.database.engine) as connection:
        await hold_versions(connection)
        await end_trial(connection, parts.vectors)
    await parts.models.refresh_trial_if_it_loads()
    return await list_versions(parts)


async def check_whole(parts: Ingest) -> None:
    """Raises NotReady where Redis lost its contents."""
    if await parts.vectors.active_version() is None:
        raise NotReady("Redis lost its contents and gets them back: try again when /health/ready says that it is ok")


def told(row: Any, kept: set[str]) -> dict[str, Any]:
    """What SQL has of a version."""
    fields = {name: getattr(row, name) for name in ("version", "created_at", "activated_at", "metrics")}
    return {**fields, "kept": row.version in kept}


async def show_version(version: str, parts: Ingest) -> ModelDetail:
    """A version and its manifest. Raises UnknownVersion, VersionUnfit where the manifest cannot be read."""
    known = await known_versions(parts.database.engine)
    row = find_row(version, known)
    with unfit(version):
        manifest = await asyncio.to_thread(parts.models.folders.manifest, version)
    active = await parts.vectors.active_version() == version
    shown = None if manifest is None else manifest.model_dump(mode="json")
    return ModelDetail(**told(row, kept_versions(known)), active=active, manifest=shown)


async def verify_version(version: str, parts: Ingest) -> Verified:
    """Check a version's files and its golden outputs. Raises UnknownVersion; VersionUnfit, which says what is wrong."""
    find_row(version, await known_versions(parts.database.engine))
    with unfit(version):
        _, worst = await asyncio.to_thread(verify, version, parts)
    return Verified(version=version, difference=worst)


def verify(version: str, parts: Ingest) -> tuple[Artifact, float]:
    """Its artefact, and how far its golden outputs are off. Blocks. Raises ArtifactInvalid, StoreUnavailable."""
    return verify_folder(parts.models.folders.need(version), "cpu")


async def delete_version(version: str, parts: Ingest) -> None:
    """Remove a version that does not serve, its folder too. Raises UnknownVersion, VersionUnfit where it serves."""
    folders = parts.models.folders
    with unfit(version):
        is_there = await asyncio.to_thread(folders.has, version)
    if not is_there:
        find_row(version, await known_versions(parts.database.engine))
    with unfit(version):
        await versions.delete_version(parts.database.engine, parts.vectors, parts.recommended, folders, version)


async def rebuild_redis(parts: Ingest) -> Rebuilding:
    """Have all of Redis written anew; answers are degraded until then.

    Raises NotReady where the version that is to serve is not the one that does: nobody could write it.
    """
    known = await known_versions(parts.database.engine)
    wanted = {activated_last(known), await parts.vectors.active_version()}
    if wanted != {parts.models.required().version}:
        raise NotReady("the active version is not loaded, or Redis is being written anew: /health/ready says more")
    await parts.vectors.miss()
    return Rebuilding()


@contextmanager
def unfit(version: str) -> Iterator[None]:
    """What is wrong with a version as VersionUnfit; NotReady where Redis lost its contents, or MODELS_URL is away."""
    try:
        yield
    except StoreUnavailable as error:
        raise NotReady(str(error)) from error
    except ContractError as error:
        raise VersionUnfit(f"version {version} is unfit: {error}") from error


async def activate_version(version: str, parts: Ingest) -> Models:
    """Let a version serve whose vectors are kept: every process goes over within a second.

    Raises UnknownVersion; VersionUnfit where its vectors are gone or its files do not verify; NotReady where Redis lost
    its contents.
    """
    check_kept(version, await known_versions(parts.database.engine))
    await check_whole(parts)
    with unfit(version):
        async with parts.models.switching(version) as model, changing(parts.database.engine) as connection:
            check_kept(version, await hold_versions(connection))
            await check_vectors(model.artifact, parts)
            await activate(connection, parts.vectors, parts.recommended, version)
    parts.behind.set()
    return await list_versions(parts)


def find_row(version: str, known: Sequence[Any]) -> Any:
    """What SQL has of a version. Raises UnknownVersion."""
    for row in known:
        if row.version == version:
            return row
    raise UnknownVersion(f"version {version} is not known: GET /models lists all")


def check_kept(version: str, known: Sequence[Any]) -> None:
    """Raises UnknownVersion, or VersionUnfit where its vectors are deleted."""
    find_row(version, known)
    if version not in kept_versions(known):
        raise VersionUnfit(f"version {version} has no vectors any more: run `python -m training publish {version}`")


async def check_vectors(exported: Artifact, parts: Ingest) -> None:
    """Raises VersionUnfit where Redis lost the version's user vectors."""
    version = exported.manifest.version
    if not await has_user_vectors(exported, parts.vectors):
        raise VersionUnfit(f"Redis has no vectors of {version}: run `python -m training publish {version}`")


async def roll_back(parts: Ingest) -> Models:
    """Let the version before the active one serve. Raises VersionUnfit where there is none."""
    active = await parts.vectors.active_version()
    before = version_before(active, await known_versions(parts.database.engine))
    if before is None:
        raise VersionUnfit("there is no version before the active one")
    return await activate_version(before, parts)
