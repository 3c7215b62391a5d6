"""/models."""

from typing import Annotated

from fastapi import APIRouter, Body, Path
from starlette.convertors import StringConvertor, register_url_convertor

from contract.ids import ID_PATTERN
from service.api.describe import answers
from service.api.parts import PartsDependency
from service.errors import BodyTooLarge, InvalidBody, InvalidRequest, NotReady, UnknownVersion, VersionUnfit
from service.schemas import ModelDetail, Models, Rebuilding, Share, Verified
from service.versions import (
    activate_version,
    delete_version,
    list_versions,
    put_on_trial,
    rebuild_redis,
    roll_back,
    show_version,
    stop_trial,
    verify_version,
)


class Plain(StringConvertor):
    """A part of a path that ends at a colon, too: what follows that is an action."""

    regex = "[^/:]+"


register_url_convertor("plain", Plain())
router = APIRouter(prefix="/models", tags=["models"])

Version = Annotated[
    str, Path(pattern=ID_PATTERN, description="A model version", examples=["20260401T120000Z-0123456789ab"])
]


@router.get("", summary="All model versions", responses=answers())
async def list_models(parts: PartsDependency) -> Models:
    """All model versions, the one activated last first, with their metrics on held-out retweets."""
    return await list_versions(parts.ingest)


@router.get(
    "/{version:plain}", summary="A model version", responses=answers(InvalidRequest, UnknownVersion, VersionUnfit)
)
async def show_model(parts: PartsDependency, version: Version) -> ModelDetail:
    """A version with its metrics and its manifest: what it was trained on and how, and what its files are."""
    return await show_version(version, parts.ingest)


@router.delete(
    "/{version:plain}",
    status_code=204,
    summary="Delete a version",
    responses=answers(InvalidRequest, UnknownVersion, VersionUnfit),
)
async def delete_model(parts: PartsDependency, version: Version) -> None:
    """Remove a version that does not serve: its vectors, its metrics and its folder."""
    await delete_version(version, parts.ingest)


@router.post(
    "/{version:plain}:verify",
    summary="Check a version",
    responses=answers(InvalidRequest, UnknownVersion, VersionUnfit),
)
async def verify_model(parts: PartsDependency, version: Version) -> Verified:
    """Check a version's files, and its golden outputs in the ONNX Runtime that serves; 409 says what is wrong."""
    return await verify_version(version, parts.ingest)


@router.post(
    "/{version:plain}:activate",
    summary="Let a version serve",
    responses=answers(InvalidRequest, UnknownVersion, VersionUnfit, NotReady),
)
async def activate_model(parts: PartsDependency, version: Version) -> Models:
    """Let a version serve whose vectors are kept; its files are verified first."""
    return await activate_version(version, parts.ingest)


@router.post(
    ":rollback", summary="Let the version before serve", responses=answers(UnknownVersion, VersionUnfit, NotReady)
)
async def roll_back_model(parts: PartsDependency) -> Models:
    """Let the version before the active one serve; its files are verified first."""
    return await roll_back(parts.ingest)


@router.post(":rebuild-redis", status_code=202, summary="Write Redis anew", responses=answers(NotReady))
async def write_redis_anew(parts: PartsDependency) -> Rebuilding:
    """Have all of Redis written anew from SQL and the exported models.

    Answers are degraded, and say so, until `/health/ready` says that Redis is `ok`.
    """
    return await rebuild_redis(parts.ingest)


@router.post(
    "/{version:plain}:trial",
    summary="Put a version on trial",
    responses=answers(InvalidRequest, InvalidBody, BodyTooLarge, UnknownVersion, VersionUnfit, NotReady),
)
async def put_model_on_trial(
    parts: PartsDependency, version: Version, wanted: Annotated[Share, Body(examples=[{"share": 0.1}])]
) -> Models:
    """Let a version whose vectors are kept serve a share of the users, always the same ones, beside the active one.

    Another trial ends. The same version again changes the share.
    """
    return await put_on_trial(version, wanted.share, parts.ingest)


@router.post(":end-trial", summary="End the trial", responses=answers())
async def end_trial_of_model(parts: PartsDependency) -> Models:
    """Let the active version serve everybody again; where none is on trial nothing changes."""
    return await stop_trial(parts.ingest)
