"""/ops/state."""

import asyncio

from fastapi import APIRouter, Request
from redis.exceptions import RedisError

from service.api.describe import answers
from service.api.health import StoreState, in_time, states_of, status_of
from service.api.parts import Parts, PartsDependency
from service.ops import freshness_now, process_now
from service.ops_schemas import OpsState, Store, Stored

router = APIRouter(prefix="/ops", tags=["operator"])


@router.get("/state", summary="The state of the service, for an operator", responses=answers())
async def get_operator_state(request: Request, parts: PartsDependency) -> OpsState:
    """How this process, its stores and its model are; `/models` beside it has the versions.

    200 within some two seconds also where Redis or the database does not answer: the parts that come from there say so.
    """
    (redis, database), stored, waiting_users = await asyncio.gather(
        states_of(request.app).next(), in_time(last_count(parts), parts.census.last), in_time(waiting(parts), None)
    )
    return OpsState(
        status=status_of(parts, redis, database, request.app.state.ending),
        process=process_now(parts),
        freshness=freshness_now(parts, stored, waiting_users),
        redis=store(redis),
        database=store(database),
    )


async def last_count(parts: Parts) -> Stored | None:
    """What SQL had when it was counted last."""
    return await parts.census.latest()


async def waiting(parts: Parts) -> int | None:
    """Users to fold in; None where Redis does not answer."""
    try:
        return await parts.ingest.fold_ins.waiting()
    except RedisError:
        return None


def store(state: StoreState) -> Store:
    """As the API has it."""
    return Store(state=state.words, seconds=state.seconds)
