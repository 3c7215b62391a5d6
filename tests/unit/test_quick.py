"""A quick route says what FastAPI's own would say of the same signature."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Header, Query, Response
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import StringConstraints

from service import problems
from service.api.parts import MayBeUnset, PartsDependency, UserId
from service.api.quick import QuickRoute


async def endpoint(
    parts: PartsDependency,
    user_id: UserId,
    k: Annotated[int, Query(ge=1, le=100)] = 3,
    scope: Annotated[Literal["followees", "discover"], Query()] = "followees",
    explain: Annotated[bool, Query()] = False,
    cursor: Annotated[Annotated[str, StringConstraints(max_length=8)] | None, MayBeUnset(), Query()] = None,
) -> Response:
    return Response(repr((parts, user_id, k, scope, explain, cursor)))


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    problems.install(app)
    app.state.parts = "parts"
    for prefix, route_class in (("/quick", QuickRoute), ("/plain", APIRoute)):
        router = APIRouter(prefix=prefix, route_class=route_class)
        router.get("/{user_id}", response_model=None)(endpoint)
        app.include_router(router)
    return TestClient(app)


@pytest.mark.parametrize("user_id", ["u1", "a%20b", "%C3%A9", "x" * 65, "-", "u1%00", "k"])
@pytest.mark.parametrize(
    "query",
    [
        "",
        "k=5",
        "k=0&k=7",
        "k=7&k=0",
        "k=0",
        "k=101",
        "k=",
        "k=1.0",
        "k=1.5",
        "k=+4",
        "k=%204",
        "k=1_0",
        "k=%D9%A3",
        "k=null",
        "k=99999999999999999999999999",
        "K=5",
        "scope=discover&explain=true&cursor=abc",
        "scope=none&explain=perhaps&cursor=123456789&k=x",
        "scope=",
        "explain",
        "explain=",
        "explain=on",
        "explain=1",
        "cursor=",
        "cursor=%ED%A0%80",
        "cursor=%00",
        "user_id=u2",
        "unheard=of",
        "parts=mine",
        "&&;=&k=3;k=4",
    ],
)
def test_it_takes_and_refuses_the_same(client: TestClient, user_id: str, query: str) -> None:
    quick, plain = (client.get(f"/{which}/{user_id}?{query}") for which in ("quick", "plain"))
    assert (quick.status_code, quick.text, quick.headers) == (plain.status_code, plain.text, plain.headers)
    assert quick.status_code in (200, 422)


async def of_header(parts: PartsDependency, key: Annotated[str, Header()]) -> Response:
    return Response(repr((parts, key)))


async def of_body(parts: PartsDependency, words: Annotated[str, Body()]) -> Response:
    return Response(repr((parts, words)))


async def of_several(parts: PartsDependency, k: Annotated[list[int], Query()]) -> Response:
    return Response(repr((parts, k)))


async def without_parts(user_id: UserId) -> Response:
    return Response(user_id)


@pytest.mark.parametrize("more", [of_header, of_body, of_several, without_parts])
def test_what_it_would_pass_over_is_refused_when_the_app_is_made(more: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="quick route"):
        APIRouter(route_class=QuickRoute).get("/{user_id}", response_model=None)(more)


def test_a_dependency_of_the_route_is_not_passed_over() -> None:
    router = APIRouter(route_class=QuickRoute, dependencies=[Depends(without_parts)])
    with pytest.raises(TypeError, match="quick route"):
        router.get("/{user_id}", response_model=None)(endpoint)


def test_it_is_documented_the_same(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    quick, plain = paths["/quick/{user_id}"]["get"], paths["/plain/{user_id}"]["get"]
    assert [quick["parameters"], quick["responses"]] == [plain["parameters"], plain["responses"]]
    assert [parameter["name"] for parameter in quick["parameters"]] == ["user_id", "k", "scope", "explain", "cursor"]
