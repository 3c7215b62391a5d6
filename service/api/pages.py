"""The pages for people: the feed at / and the operator's at /ops; files of service/web, served as they are.

They need no key and have no data: what they show they ask of the API, with a key where there is one.
"""

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.types import Scope

FOLDER = Path(__file__).resolve().parent.parent / "web"
FRESH = {"Cache-Control": "no-cache"}
"""A browser asks whether it still has the newest: a page and its scripts belong together."""

router = APIRouter(include_in_schema=False)


@router.get("/")
async def get_feed() -> Response:
    """The feed of a user."""
    return FileResponse(FOLDER / "feed.html", headers=FRESH)


@router.get("/ops")
async def get_ops() -> Response:
    """The operator's page."""
    return FileResponse(FOLDER / "ops.html", headers=FRESH)


class Files(StaticFiles):
    """Scripts, styles and drawings of the pages; the pages have addresses, and a policy, of their own."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file; 404 for a page."""
        if path.lower().endswith(".html"):
            raise HTTPException(404)
        return await super().get_response(path, scope)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file, to be asked for anew each time; 304 where it is the same."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(FRESH)
        return response


files = Files(directory=FOLDER)
