"""What the OpenAPI document has to have; that the service keeps it, tests/e2e/test_schema.py asks."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from service import errors
from service.errors import ServiceError
from service.main import create_app
from service.settings import Settings

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings(api_key=None)).openapi()


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> list[Operation]:
    return [(path, method, of) for path, methods in document["paths"].items() for method, of in methods.items()]


def kinds() -> Iterator[type[ServiceError]]:
    yield from (kind for kind in ServiceError.__subclasses__() if kind.__module__ == errors.__name__)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))
    assert "components/schemas/Problem" in references
    for reference in references:
        place = document
        for part in reference.split("/"):
            place = place[part]
    assert not [name for name in document["components"]["schemas"] if "ValidationError" in name]


def test_operations_have_names_words_and_known_tags(document: dict[str, Any], operations: list[Operation]) -> None:
    names = [of["operationId"] for *_, of in operations]
    assert len(names) == len(set(names)) == 35
    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)*", name) for name in names)
    assert {"getRecommendations", "postTweet", "retweet", "activateModel"} <= set(names)
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    for path, method, of in operations:
        assert of["summary"], (path, method)
        assert of["description"], (path, method)
        assert set(of["tags"]) <= tags
        assert all(parameter["description"] for parameter in of.get("parameters", []))


def test_every_error_is_a_problem_with_the_headers_it_has(operations: list[Operation]) -> None:
    for path, method, of in operations:
        for status, answer in of["responses"].items():
            assert answer["headers"]["X-Request-ID"] == {"$ref": "#/components/headers/X-Request-ID"}
            if int(status) >= 400 and not path.startswith("/health/"):
                (schema,) = [content["schema"] for content in answer["content"].values()]
                assert list(answer["content"]) == ["application/problem+json"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, (path, method, status)
                assert ("Retry-After" in answer["headers"]) == (status in ("429", "503"))
                assert ("WWW-Authenticate" in answer["headers"]) == (status == "401")


@pytest.mark.parametrize(
    ("path", "method", "scope"),
    [
        ("/users/{user_id}/recommendations", "get", "read"),
        ("/tweets", "post", "write"),
        ("/tweets/{tweet_id}", "delete", "write"),
        ("/models", "get", "read"),
        ("/models:rollback", "post", "admin"),
        ("/metrics", "get", "read"),
        ("/ops/state", "get", "admin"),
    ],
)
def test_the_scope_of_a_key_is_named(document: dict[str, Any], path: str, method: str, scope: str) -> None:
    operation = document["paths"][path][method]
    assert operation["security"] == [{"key": [scope]}]
    assert {"401", "403"} <= operation["responses"].keys()


def test_health_needs_no_key(document: dict[str, Any]) -> None:
    for path in ("/health/live", "/health/ready"):
        assert "security" not in document["paths"][path]["get"]
        assert not {"401", "403"} & document["paths"][path]["get"]["responses"].keys()


def test_no_parameter_and_no_form_field_can_be_null(document: dict[str, Any], operations: list[Operation]) -> None:
    parameters = [parameter["schema"] for *_, of in operations for parameter in of.get("parameters", [])]
    forms = [document["components"]["schemas"][name] for name in ("Body_postTweet", "Body_postTweets")]
    for schema in parameters + [field for form in forms for field in form["properties"].values()]:
        assert schema["type"] in ("string", "integer", "boolean", "array")


def test_pictures_are_binary_both_ways(document: dict[str, Any]) -> None:
    image = document["components"]["schemas"]["Body_postTweet"]["properties"]["image"]
    assert (image["type"], image["format"]) == ("string", "binary")
    content = document["paths"]["/tweets/{tweet_id}/image"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"image/jpeg", "image/png", "image/webp", "image/gif"}
    encoding = document["paths"]["/tweets"]["post"]["requestBody"]["content"]["multipart/form-data"]["encoding"]
    assert set(encoding["image"]["contentType"].split(", ")) == set(content)


def test_every_kind_of_error_is_in_the_document(document: dict[str, Any]) -> None:
    described = json.dumps(document)
    for kind in kinds():
        assert f"/problems/{kind.slug}`: {kind.meaning()}" in described, kind
