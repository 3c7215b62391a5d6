"""Routes that do a part of what GET recommendations does: what a request costs at least, part by part.

/users/{user_id}/bare        the parameters read and checked, an answer that was made before
/users/{user_id}/multiplied  the same, and the candidates' vectors multiplied as for a ranking
"""

import inspect
from dataclasses import dataclass
from functools import partial

import numkong
from fastapi import APIRouter, FastAPI, Response

from service.api.parts import Parts
from service.api.quick import QuickRoute
from service.api.recommendations import get_recommendations
from service.held import Held
from service.recommend import Ask, find_pool, gather_people, known_user, open_page
from service.table import Ints

PARTS = ("bare", "multiplied")


@dataclass(frozen=True)
class Answered:
    """A user's first answer, as it was sent, and what was ranked for it."""

    body: bytes
    held: Held
    row_C: Ints
    packed: numkong.PackedMatrix


def add_floors(app: FastAPI) -> None:
    """Add the routes."""
    answered: dict[str, Answered] = {}
    router = APIRouter(route_class=QuickRoute)
    for part in PARTS:
        route = partial(answer, part, answered)
        route.__signature__ = inspect.signature(get_recommendations)  # type: ignore[attr-defined]  # FastAPI reads it
        router.get(f"/users/{{user_id}}/{part}", response_model=None, name=part)(route)
    app.include_router(router)


async def answer(part: str, answered: dict[str, Answered], parts: Parts, user_id: str, **_: object) -> Response:
    """What was answered first; only that first time is it made."""
    if user_id not in answered:
        answered[user_id] = await first_answer(parts, user_id)
    known = answered[user_id]
    if part == "multiplied":
        known.held.tweets.products(known.row_C, known.packed)
    return Response(known.body, media_type="application/json")


async def first_answer(parts: Parts, user_id: str) -> Answered:
    """Asked for as always, k = 3."""
    model, online = parts.ingest.models.required(), parts.online
    page = open_page(Ask(user_id, 3, "followees", False, None), model, online.cursors)
    held = await online.network.fresh(model)
    view, _ = await known_user(user_id, held, online)
    people = await gather_people(user_id, view, model, held, online.network)
    pool = await find_pool(view, people, page, held, online)
    sent = await get_recommendations(parts, user_id)
    return Answered(bytes(sent.body), held, pool.row_C, people.packed)
