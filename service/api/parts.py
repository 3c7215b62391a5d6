"""What the routes get: the parts that the lifespan built, and the key check."""

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.changes import Changes
from service.errors import Unauthorized
from service.ingest import Ingest
from service.recommend import Online
from service.settings import Settings


@dataclass(frozen=True)
class Parts:
    """One service's parts."""

    settings: Settings
    ingest: Ingest
    changes: Changes
    online: Online


def get_parts(request: Request) -> Parts:
    """The parts of this app."""
    parts: Parts = request.app.state.parts
    return parts


PartsDependency = Annotated[Parts, Depends(get_parts)]


def check_key(
    parts: PartsDependency,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> None:
    """Raises Unauthorized where a key is configured and the request carries none or another."""
    key = parts.settings.api_key
    if key is None:
        return
    given = credentials.credentials if credentials else ""
    if not hmac.compare_digest(given.encode(), key.get_secret_value().encode()):
        raise Unauthorized("this needs the header `Authorization: Bearer KEY` with the service's key")
