"""/models."""

from typing import Annotated

from fastapi import APIRouter, Path

from contract.ids import ID_PATTERN
from service.api.describe import answers
from service.api.parts import PartsDependency
from service.errors import InvalidRequest, NotReady, UnknownVersion, VersionUnfit
from service.schemas import Models
from service.versions import activate_version, list_versions, roll_back

router = APIRouter(prefix="/models", tags=["models"])

Version = Annotated[
    str, Path(pattern=ID_PATTERN, description="A model version", examples=["20260401T120000Z-0123456789ab"])
]


@router.get("", summary="All model versions", responses=answers())
async def list_models(parts: PartsDependency) -> Models:
    """All model versions, the one activated last first, with their metrics on held-out retweets."""
    return await list_versions(parts.ingest)


@router.post(
    "/{version}:activate",
    summary="Let a version serve",
    responses=answers(InvalidRequest, UnknownVersion, VersionUnfit, NotReady),
)
async def activate_model(parts: PartsDependency, version: Version) -> Models:
    """Let a version serve whose vectors are kept."""
    return await activate_version(version, parts.ingest)


@router.post(
    ":rollback", summary="Let the version before serve", responses=answers(UnknownVersion, VersionUnfit, NotReady)
)
async def roll_back_model(parts: PartsDependency) -> Models:
    """Let the version before the active one serve."""
    return await roll_back(parts.ingest)
