"""Bodies that could mean two things."""

from collections.abc import Awaitable, Callable, Iterable

from fastapi import Request
from fastapi.exceptions import RequestValidationError


def clear(once: Iterable[str], optional: Iterable[str] = ()) -> Callable[[Request], Awaitable[None]]:
    """A dependency that refuses a form with one of the fields `once` twice, or with an empty `optional` one.

    The framework would take the last one, and an empty one as not sent: a client that lost an id on the way would post
    its tweet again and again.
    """

    async def check(request: Request) -> None:
        form = await request.form()
        faults = [(name, "is there twice: send it once") for name in once if len(form.getlist(name)) > 1]
        faults += [(name, "is empty: send a value, or leave it out") for name in optional if form.get(name) == ""]
        if faults:
            raise RequestValidationError([{"type": "form", "loc": ("body", name), "msg": why} for name, why in faults])

    return check


async def not_null(request: Request) -> None:
    """A dependency that refuses JSON's null where the framework would take it for no body at all."""
    if (await request.body()).strip() == b"null":
        raise RequestValidationError([{"type": "null", "loc": ("body",), "msg": "is null: send an object, or nothing"}])
