"""/health."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, Request, Response
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from service.api.parts import Parts, PartsDependency
from service.room import Rounds
from service.schemas import Liveness, Readiness, Status

T = TypeVar("T")

HANGS_SECONDS = 60.0
"""For a batch of an encoder, which takes milliseconds on a GPU and seconds on a slow CPU."""

AWAY = "does not answer: reads go on without it"
OTHER_VERSION = "names version"
STATE_SECONDS = 1.0
"""How long a store is waited for: who asks has little patience."""

router = APIRouter(prefix="/health", tags=["health"])


@dataclass(frozen=True)
class StoreState:
    """Of Redis or the database, in words; how long it took to answer, where it did."""

    words: str
    seconds: float | None = None


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
    redis, database = await states_of(request.app).next()
    status = status_of(parts, redis, database, request.app.state.ending)
    if status != "ready":
        response.status_code = 503
    return Readiness(
        status=status,
        model="none: run `python -m training retrain`" if model is None else model.version,
        redis=redis.words,
        database=database.words,
        device="none" if model is None else model.onnx.device,
    )


def states_of(app: FastAPI) -> Rounds[tuple[StoreState, StoreState]]:
    """Who asks how the stores are, asks here."""
    rounds: Rounds[tuple[StoreState, StoreState]] = app.state.store_states
    return rounds


def status_of(parts: Parts, redis: StoreState, database: StoreState, ending: bool) -> Status:
    """Of the whole."""
    loaded = parts.ingest.models.current is not None and not redis.words.startswith(OTHER_VERSION)
    if loaded and (redis.words, database.words) != (AWAY, AWAY) and not ending:
        return "ready"
    return "ending" if ending else "not ready"


async def store_states(parts: Parts) -> tuple[StoreState, StoreState]:
    """Of Redis and the database."""
    asked = (timed(redis_state(parts)), timed(database_state(parts)))
    redis, database = await asyncio.gather(*(in_time(state, StoreState(AWAY)) for state in asked))
    return redis, database


async def timed(state: Coroutine[Any, Any, str]) -> StoreState:
    """What a store says, and how long it took."""
    started = time.perf_counter()
    words = await state
    return StoreState(words, None if words == AWAY else time.perf_counter() - started)


async def redis_state(parts: Parts) -> str:
    """In words."""
    model = parts.ingest.models.current
    try:
        await parts.ingest.vectors.check()
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


async def in_time(question: Coroutine[Any, Any, T], otherwise: T) -> T:
    """What does not answer in time does not answer; nobody waits for the end of the question, in which drivers hang."""
    task = asyncio.create_task(question)
    done, _ = await asyncio.wait({task}, timeout=STATE_SECONDS)
    if not done:
        task.cancel()
        return otherwise
    return task.result()
