"""Routes that do a part of what GET recommendations does, and one that does it in plain loops.

/users/{user_id}/read        the parameters read and checked; the answer is one that was made before
/users/{user_id}/looked      and a look at what changed
/users/{user_id}/found       and the candidates
/users/{user_id}/multiplied  and the products of their vectors
/users/{user_id}/ranked      and their scores, and the best of them: all but the answer
/users/{user_id}/literal     scores in torch, by loops over candidates and followees, attention given
"""

import inspect
from functools import partial

import numpy as np
import torch
from fastapi import APIRouter, FastAPI, Response

from service.api.parts import Parts
from service.api.quick import QuickRoute
from service.api.recommendations import get_recommendations
from service.held import Held, People, View
from service.recommend import Ask, Pool, find_pool, gather_people, known_user, open_page, rank, top_k

PARTS = ("read", "looked", "found", "multiplied", "ranked")


def add_floors(app: FastAPI) -> None:
    """Add the routes."""
    answered: dict[tuple[str, str], bytes] = {}
    router = APIRouter(route_class=QuickRoute)
    for part in (*PARTS, "literal"):
        route = partial(answer, part, answered)
        route.__signature__ = inspect.signature(get_recommendations)  # type: ignore[attr-defined]  # FastAPI reads it
        router.get(f"/users/{{user_id}}/{part}", response_model=None, name=part)(route)
    app.include_router(router)


async def answer(
    part: str, answered: dict[tuple[str, str], bytes], parts: Parts, user_id: str, k: int, **_: object
) -> Response:
    """Do that much, and answer what was answered first; only that first time is it made, and plain loops checked."""
    known = (part, user_id)
    if first := known not in answered:
        answered[known] = bytes((await get_recommendations(parts, user_id, k)).body)
    if part != "read":
        await work(part, parts, user_id, k, check=first)
    return Response(answered[known], media_type="application/json")


async def work(part: str, parts: Parts, user_id: str, k: int, check: bool) -> None:
    """As service/recommend.py does it, up to a part.

    Raises RuntimeError where plain loops, if they are to be checked, come to other scores.
    """
    model, online = parts.ingest.models.required(), parts.online
    page = open_page(Ask(user_id, k, "followees", False, None), model, online.cursors)
    held = await online.network.fresh(model)
    if part == "looked":
        return
    view, _ = await known_user(user_id, held, online)
    people = await gather_people(user_id, view, model, held, online.network)
    pool = await find_pool(view, people, page, held, online)
    if part == "found":
        return
    if part == "literal":
        score_C = literal_scores(pool, view, people, held)
        if check and not np.allclose(score_C, rank(pool, people, model, held).key_C, rtol=1e-3, atol=1e-3):
            raise RuntimeError("plain loops give other scores than the service")
        return
    if part == "multiplied":
        held.tweets.products(pool.row_C, people.packed)
        return
    top_k(rank(pool, people, model, held).key_C, pool, held.tweets.ids, k)


@torch.no_grad()
def literal_scores(pool: Pool, view: View, people: People, held: Held) -> torch.Tensor:
    """u . z + sum_q alpha_q u_q . z, float32 [C]: link "sum", and the attention that the model gave."""
    u_D = torch.from_numpy(held.users.vectors_RD[view.rows_M[0]]).float()
    followees = [torch.from_numpy(held.users.vectors_RD[row]).float() for row in view.rows_M[1:]]
    attention = torch.from_numpy(people.attended.attention_N)
    scores = []
    for row in pool.row_C:
        z_D = torch.from_numpy(held.tweets.vectors_RD[row]).float()
        social = torch.zeros(())
        for alpha, u_q in zip(attention, followees, strict=True):
            social = social + alpha * torch.dot(u_q, z_D)
        scores.append(torch.dot(u_D, z_D) + social)
    return torch.stack(scores)
