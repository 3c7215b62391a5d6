"""What the routes get: the parts that the lifespan built, and the check of keys."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.changes import Changes
from service.ingest import Ingest
from service.keys import Keys, KeyScope
from service.metrics import Metrics
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
    metrics: Metrics


def get_parts(request: Request) -> Parts:
    """The parts of this app."""
    parts: Parts = request.app.state.parts
    return parts


PartsDependency = Annotated[Parts, Depends(get_parts)]


def needs(scope: KeyScope) -> Any:
    """A route's dependency. Raises Unauthorized without a key that we know, Forbidden without the scope."""

    async def check(
        parts: PartsDependency,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
    ) -> None:
        await parts.keys.check(credentials.credentials if credentials else None, scope)

    return Depends(check)


READ, WRITE, ADMIN = needs("read"), needs("write"), needs("admin")
