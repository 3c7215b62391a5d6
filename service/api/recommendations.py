"""GET /users/{id}/recommendations."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import StringConstraints, TypeAdapter

from service.api.describe import answers
from service.api.parts import MayBeUnset, PartsDependency, UserId
from service.api.quick import QuickRoute
from service.errors import CursorExpired, InvalidCursor, InvalidRequest, NotReady, UnknownUser
from service.recommend import Ask, recommend
from service.schemas import Recommendations, Scope

router = APIRouter(prefix="/users", tags=["users"], route_class=QuickRoute)

_ANSWERS = TypeAdapter(Recommendations)


@router.get(
    "/{user_id}/recommendations",
    summary="Which tweets a user will most likely retweet",
    response_model=Recommendations,
    responses=answers(InvalidRequest, UnknownUser, InvalidCursor, CursorExpired, NotReady),
)
async def get_recommendations(
    parts: PartsDependency,
    user_id: UserId,
    k: Annotated[int, Query(ge=1, le=100, description="how many", examples=[3])] = 3,
    scope: Annotated[Scope, Query(description="followees' tweets, or all recent ones of others")] = "followees",
    explain: Annotated[bool, Query(description="say which followees carry the social facet")] = False,
    cursor: Annotated[
        Annotated[str, StringConstraints(max_length=8_000)] | None,
        MayBeUnset(),
        Query(description="next_cursor of the page before, as it came"),
    ] = None,
) -> Response:
    """The K tweets that the user will most likely retweet, best first."""
    ask = Ask(user_id, k, scope, explain, cursor)
    models = parts.ingest.models
    model, on_trial = models.of_user(user_id), models.on_trial
    answer = await recommend(ask, model, parts.online)
    if on_trial is not None:
        answer.trial = model is on_trial.model
        if not on_trial.trial.share:
            parts.shadow.look_on(ask, answer, on_trial)
        elif not parts.online.network.away:
            await parts.trials.note(answer)
    return Response(_ANSWERS.dump_json(answer), media_type="application/json")
