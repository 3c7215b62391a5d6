"""/health."""

from fastapi import APIRouter, Request, Response
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from service.api.parts import PartsDependency
from service.schemas import Liveness, Readiness

HANGS_SECONDS = 60.0
"""For a batch of an encoder, which takes milliseconds on a GPU and seconds on a slow CPU."""

router = APIRouter(prefix="/health", tags=["health"])


@router.get(
    "/live",
    summary="Whether the process is to go on",
    responses={503: {"model": Liveness, "description": "Start it anew: its encoder hangs"}},
)
async def get_liveness(parts: PartsDependency, response: Response) -> Liveness:
    """The process answers, and its encoder comes to an end of what it does."""
    hangs = parts.ingest.batcher.busy_seconds > HANGS_SECONDS
    if hangs:
        response.status_code = 503
    return Liveness(status="hangs" if hangs else "alive")


@router.get(
    "/ready",
    summary="Whether the service can do its work",
    responses={503: {"model": Readiness, "description": "Not ready: the body says which part"}},
)
async def get_readiness(request: Request, parts: PartsDependency, response: Response) -> Readiness:
    """200 where it can recommend: a model is there, and Redis or the database answers; else 503, and what is missing.

    While one of the two does not answer, changes are answered 503; the body says which one it is. 503, too, where the
    service was told to end: it answers what still comes for a moment.
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
    ending = request.app.state.ending
    answering = loaded and sources > 0 and not ending
    if not answering:
        response.status_code = 503
    return Readiness(
        status="ready" if answering else "ending" if ending else "not ready",
        model="none: run `python -m training retrain`" if model is None else model.version,
        redis=redis,
        database=database,
        device="none" if model is None else model.onnx.device,
    )
