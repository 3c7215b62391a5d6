"""/users."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from contract.ids import ID_PATTERN
from service.api.parts import PartsDependency, check_key
from service.recommend import recommend
from service.schemas import Recommendations

router = APIRouter(prefix="/users", tags=["users"], dependencies=[Depends(check_key)])


@router.get("/{user_id}/recommendations")
async def get_recommendations(
    parts: PartsDependency,
    user_id: Annotated[str, Path(pattern=ID_PATTERN)],
    k: Annotated[int, Query(ge=1, le=100, description="how many")] = 3,
) -> Recommendations:
    """The K tweets that the user will most likely retweet, best first."""
    stores = parts.ingest
    return await recommend(user_id, k, stores.models.required(), stores.graph, stores.vectors, stores.database)
