"""/health."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from service.api.parts import Parts, PartsDependency
from service.room import Rounds
from service.schemas import Liveness, Readiness

HANGS_SECONDS = 60.0
"""For a batch of an encoder, which takes milliseconds on a GPU and seconds on a slow CPU."""

AWAY = "does not answer: reads go on without it"
OTHER_VERSION = "names version"
STATE_SECONDS = 1.0
"""How long a store is waited for: who asks has little patience."""

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
    model = parts.ingest.models.current
    states: Rounds[tuple[str, str]] = request.app.state.store_states
    redis, database = await states.next()
    loaded = model is not None and not redis.startswith(OTHER_VERSION)
    ending = request.app.state.ending
    answering = loaded and (redis, database) != (AWAY, AWAY) and not ending
    if not answering:
        response.status_code = 503
    return Readiness(
        status="ready" if answering else "ending" if ending else "not ready",
        model="none: run `python -m training retrain`" if model is None else model.version,
        redis=redis,
        database=database,
        device="none" if model is None else model.onnx.device,
    )


async def store_states(parts: Parts) -> tuple[str, str]:
    """Of Redis and the database, in words."""
    redis, database = await asyncio.gather(in_time(redis_state(parts)), in_time(database_state(parts)))
    return redis, database


async def redis_state(parts: Parts) -> str:
    """In words."""
    model = parts.ingest.models.current
    try:
        version = await parts.ingest.vectors.active_version()
    except RedisError:
        return AWAY
    if version is None and model is None:
        return "names no active version: run `python -m training publish VERSION`"
    if version is None:
        return "lost its contents and gets them back: answers are degraded"
    if model is not None and version != model.version:
        return f"{OTHER_VERSION} {version}, which is not loaded: the log says why"
    return "ok"


async def database_state(parts: Parts) -> str:
    """In words."""
    try:
        await parts.ingest.database.check()
    except SQLAlchemyError:
        return AWAY
    return "ok"


async def in_time(state: Coroutine[Any, Any, str]) -> str:
    """What does not answer in time does not answer; nobody waits for the end of the question, in which drivers hang."""
    task = asyncio.create_task(state)
    done, _ = await asyncio.wait({task}, timeout=STATE_SECONDS)
    if not done:
        task.cancel()
        return AWAY
    return task.result()
