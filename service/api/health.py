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
    """200 where it can recommend: a model is there, and Redis or the database answers; else 503, and what is missing.

    While one of the two does not answer, changes are answered 503; the body says which one it is.
    """
    stores = parts.ingest
    model = stores.models.current
    redis, database = "ok", "ok"
    loaded, sources = model is not None, 2
    try:
        version = await stores.vectors.active_version()
        if version is None and model is None:
            redis = "names no active version: run `python -m training publish VERSION`"
        elif version is None:
            redis = "lost its contents and gets them back: answers are degraded"
        elif model is not None and version != model.version:
            redis, loaded = f"names version {version}, which is not loaded: the log says why", False
    except RedisError:
        redis, sources = "does not answer: reads go on without it", sources - 1
    try:
        await stores.database.check()
    except SQLAlchemyError:
        database, sources = "does not answer: reads go on without it", sources - 1
    answering = loaded and sources > 0
    if not answering:
        response.status_code = 503
    return Readiness(
        status="ready" if answering else "not ready",
        model="none: run `python -m training retrain`" if model is None else model.version,
        redis=redis,
        database=database,
        device="none" if model is None else model.onnx.device,
    )
