"""What the routes get: the parts that the lifespan built."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from service.changes import Changes
from service.ingest import Ingest
from service.keys import Keys
from service.metrics import Metrics
from service.rates import Rates
from service.recommend import Online
from service.settings import Settings


@dataclass(frozen=True)
class Parts:
    """One service's parts."""

    settings: Settings
    ingest: Ingest
    changes: Changes
    online: Online
    keys: Keys
    rates: Rates
    metrics: Metrics


async def get_parts(request: Request) -> Parts:
    """The parts of this app. Asynchronous, so that FastAPI runs it here and not in a thread."""
    parts: Parts = request.app.state.parts
    return parts


PartsDependency = Annotated[Parts, Depends(get_parts)]


KEY = Security(HTTPBearer(auto_error=False, description="a key of the service, where it has any"))
"""Says in the API's description that a key is needed; `service.guard` asks for it."""
