"""/models."""

from typing import Annotated

from fastapi import APIRouter, Path

from contract.ids import ID_PATTERN
from service.api.parts import KEY, PartsDependency
from service.schemas import Models
from service.versions import activate_version, list_versions, roll_back

router = APIRouter(prefix="/models", tags=["models"], dependencies=[KEY])


@router.get("")
async def get_models(parts: PartsDependency) -> Models:
    """All model versions, the one activated last first, with their metrics on held-out retweets."""
    return await list_versions(parts.ingest)


@router.post("/{version}:activate")
async def post_activate(parts: PartsDependency, version: Annotated[str, Path(pattern=ID_PATTERN)]) -> Models:
    """Let a version serve whose vectors are kept."""
    return await activate_version(version, parts.ingest)


@router.post(":rollback")
async def post_rollback(parts: PartsDependency) -> Models:
    """Let the version before the active one serve."""
    return await roll_back(parts.ingest)
