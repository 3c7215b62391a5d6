"""What the routes get: the parts that the lifespan built."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from pydantic import GetJsonSchemaHandler

from contract.ids import ID_PATTERN
from service.census import Census
from service.changes import Changes
from service.compare import Compared
from service.ingest import Ingest
from service.keys import Keys
from service.metrics import Metrics
from service.rates import Rates
from service.recommend import Online
from service.settings import Settings
from service.shadow import Shadow
from service.trials import Trials


@dataclass(frozen=True)
class Parts:
    """One service's parts."""

    settings: Settings
    ingest: Ingest
    changes: Changes
    online: Online
    trials: Trials
    shadow: Shadow
    compared: Compared
    keys: Keys
    rates: Rates
    metrics: Metrics
    census: Census
    started_at: datetime


async def get_parts(request: Request) -> Parts:
    """The parts of this app. Asynchronous, so that FastAPI runs it here and not in a thread."""
    parts: Parts = request.app.state.parts
    return parts


PartsDependency = Annotated[Parts, Depends(get_parts)]

UserId = Annotated[str, Path(pattern=ID_PATTERN, description="A user's id", examples=["u0042"])]
TweetId = Annotated[str, Path(pattern=ID_PATTERN, description="A tweet's id", examples=["t0311"])]


class MayBeUnset:
    """Marks a form field, parameter or body that may be left out: unlike a field of JSON, none of these can be null."""

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of the value where it is there."""
        return handler(core["schema"])
