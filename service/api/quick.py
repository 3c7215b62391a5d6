"""A route that reads its parameters quickly: FastAPI documents them, one pydantic model checks them all."""

from collections.abc import Callable, Coroutine
from typing import Any, get_origin

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError, create_model

from service.api.parts import get_parts


class QuickRoute(APIRoute):
    """For endpoints that take the app's parts and single parameters of the path and the query, and give a Response.

    What FastAPI does for every parameter by itself takes as long as all else of a small answer (docs/experiments.md).
    Dependencies that `include_router` adds are not seen.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Checks what the endpoint's signature says, as FastAPI would. Raises TypeError where it says more."""
        asks = self.dependant
        fields, of_path = [*asks.path_params, *asks.query_params], {field.name for field in asks.path_params}
        others = [*asks.header_params, *asks.cookie_params, *asks.body_params]
        several = [
            field for field in fields if get_origin(field.field_info.annotation) in (list, set, frozenset, tuple)
        ]
        if others or several or [dependency.call for dependency in asks.dependencies] != [get_parts]:
            raise TypeError(f"{self.path}: a quick route takes PartsDependency and single parameters of path and query")
        described: dict[str, Any] = {field.name: (field.field_info.annotation, field.field_info) for field in fields}
        asked_model, endpoint = create_model("Asked", **described), self.endpoint

        async def handle(request: Request) -> Response:
            try:
                asked = asked_model.model_validate({**request.query_params, **request.path_params})
            except ValidationError as error:
                raise RequestValidationError([_placed(fault, of_path) for fault in error.errors()]) from error
            response: Response = await endpoint(request.app.state.parts, **asked.__dict__)
            return response

        return handle


def _placed(fault: Any, of_path: set[str]) -> Any:
    name = fault["loc"][0]
    return {**fault, "loc": ("path" if name in of_path else "query", *fault["loc"])}
