"""/health."""

from fastapi import APIRouter, Response
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from service.api.parts import PartsDependency
from service.schemas import Liveness, Readiness

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="Whether the process answers")
async def get_liveness() -> Liveness:
    """The process answers."""
    return Liveness()


@router.get(
    "/ready",
    summary="Whether the service can do its work",
    responses={503: {"model": Readiness, "description": "Not ready: the body says which part"}},
)
async def get_readiness(parts: PartsDependency, response: Response) -> Readiness:
    """Model, Redis and database are there: 200; else 503, and which is not."""
    stores = parts.ingest
    model = stores.models.current
    redis = database = "ok"
    try:
        version = await stores.vectors.active_version()
        if version is None:
            redis = "names no active version: run `python -m training publish VERSION`"
        elif model is not None and version != model.version:
            redis = f"names version {version}, which is not loaded: the log says why"
    except RedisError:
        redis = "does not answer"
    try:
        await stores.database.check()
    except SQLAlchemyError:
        database = "does not answer"
    well = model is not None and redis == database == "ok"
    if not well:
        response.status_code = 503
    return Readiness(
        status="ready" if well else "not ready",
        model="none: run `python -m training retrain`" if model is None else model.version,
        redis=redis,
        database=database,
        device="none" if model is None else model.onnx.device,
    )
