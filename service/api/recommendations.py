"""GET /users/{id}/recommendations."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import StringConstraints, TypeAdapter

from contract.ids import Id
from service.api.describe import answers
from service.api.parts import MayBeUnset, PartsDependency, UserId
from service.api.quick import QuickRoute
from service.errors import (
    CursorExpired,
    InvalidCursor,
    InvalidRequest,
    NotReady,
    UnknownUser,
    UnknownVersion,
    VersionUnfit,
)
from service.recommend import Ask, recommend
from service.schemas import Recommendations, Scope

router = APIRouter(prefix="/users", tags=["users"], route_class=QuickRoute)

_ANSWERS = TypeAdapter(Recommendations)


@router.get(
    "/{user_id}/recommendations",
    summary="Which tweets a user will most likely retweet",
    response_model=Recommendations,
    responses=answers(
        InvalidRequest, UnknownUser, UnknownVersion, VersionUnfit, InvalidCursor, CursorExpired, NotReady
    ),
)
async def get_recommendations(
    parts: PartsDependency,
    user_id: UserId,
    k: Annotated[int, Query(ge=1, le=100, description="how many", examples=[3])] = 3,
    scope: Annotated[Scope, Query(description="followees' tweets, or all recent ones of others")] = "followees",
    explain: Annotated[
        bool, Query(description="say which followees carry the social facet, and why each tweet")
    ] = False,
    cursor: Annotated[
        Annotated[str, StringConstraints(max_length=8_000)] | None,
        MayBeUnset(),
        Query(description="next_cursor of the page before, as it came"),
    ] = None,
    version: Annotated[
        Id | None,
        MayBeUnset(),
        Query(
            description="a kept version to rank by, to look at beside another",
            examples=["20260401T120000Z-0123456789ab"],
        ),
    ] = None,
) -> Response:
    """The K tweets that the user will most likely retweet, best first.

    With `version` it is that version's answer, whichever one serves the user; it counts for no trial. The first one
    takes seconds where the version has to be loaded.
    """
    ask = Ask(user_id, k, scope, explain, cursor)
    if version is not None:
        return _written(await parts.compared.answer(ask, version))
    models = parts.ingest.models
    model, on_trial = models.of_user(user_id), models.on_trial
    answer = await recommend(ask, model, parts.online)
    if on_trial is not None:
        answer.trial = model is on_trial.model
        if not on_trial.trial.share:
            parts.shadow.look_on(ask, answer, on_trial)
        elif not parts.online.network.away:
            await parts.trials.note(answer)
    return _written(answer)


def _written(answer: Recommendations) -> Response:
    return Response(_ANSWERS.dump_json(answer), media_type="application/json")
