"""docs/http.md, from the OpenAPI document of the service."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from docs.generate.markdown import Row, code, document, table
from docs.generate.schemas import Schema, default_in_words, type_in_words
from service.main import create_app
from service.settings import Settings

URL = "http://127.0.0.1:8000"
PICTURE = "var/dataset/new/n001.jpg"
"""One that the made network of `make run` has."""
OF_ONE_S_OWN = {"version"}
"""Parameters that a line does without: a made-up one would be refused."""

INTRODUCTION = """\
# HTTP reference

Written by `make docs` from the service's OpenAPI document, which it serves at `/openapi.json`, and as pages at `/docs`.
Ids, versions and times of the examples are made up; [the API by example](api.md) says what answers mean. With a key,
add `-H "Authorization: Bearer $KEY"` to every curl line. What answers GET answers HEAD, too.
"""
_PROBLEM = re.compile(r"^- `/problems/([a-z-]+)`: (.+)$", re.MULTILINE)
_ERRORS = """\
## Errors

Every error is a [Problem](#problem), `application/problem+json`; its `type` is one of these after `/problems/`. Beside
them there are `not-found` (404) for a path that is not here, and `method-not-allowed` (405), with `Allow`, for a method
that a path does not take.
"""

Operation = dict[str, Any]


def http_page() -> str:
    """Every route: what it does, its parameters, its answers, the scope of a key that it needs, a curl line."""
    document_ = api()
    return document(
        INTRODUCTION,
        table(("Request", "What it does"), _overview(document_)),
        *_routes(document_),
        _ERRORS,
        table(("Status", "Type", "What it means"), _problems(document_)),
        "## Bodies",
        *_bodies(document_),
    )


def api() -> dict[str, Any]:
    """The OpenAPI document."""
    return create_app(Settings.model_construct()).openapi()


def operations(document_: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Method, path and operation of every route."""
    for path, methods in document_["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def curl(method: str, path: str, operation: Operation, document_: dict[str, Any]) -> str:
    """A line that asks for it, with the examples that the document has."""
    query = {}
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(_example(parameter["schema"], parameter["name"])))
        elif (
            parameter["in"] == "query"
            and parameter["name"] not in OF_ONE_S_OWN
            and ("examples" in parameter["schema"] or parameter["required"])
        ):
            query[parameter["name"]] = _example(parameter["schema"], parameter["name"])
    words = ["curl", "-s"]
    if method != "GET" and not (method == "POST" and "requestBody" in operation):
        words += ["-X", method]
    words += _sent(operation.get("requestBody"), document_)
    words.append(f"{URL}{path}{'?' if query else ''}{urlencode(query, doseq=True)}")
    return " ".join(shlex.quote(word) for word in words)


def _sent(body: dict[str, Any] | None, document_: dict[str, Any]) -> list[str]:
    if body is None or not body.get("required"):
        return []
    ((media_type, content),) = body["content"].items()
    if media_type == "application/json":
        example = json.dumps(_example(content["schema"], "the body"))
        return ["-H", "Content-Type: application/json", "-d", example]
    words: list[str] = []
    fields = _resolved(content["schema"], document_)
    named = re.search(r'"image": "([^"]+)"', json.dumps(fields).replace('\\"', '"'))
    for name, field in fields["properties"].items():
        if name in fields["required"] or "examples" in field:
            if name == "images" and named:
                words += ["-F", f"{name}=@{PICTURE};filename={named[1]}"]
            elif field.get("format") == "binary":
                words += ["-F", f"{name}=@{PICTURE}"]
            else:
                words += ["--form-string" if '"' in field["examples"][0] else "-F", f"{name}={_example(field, name)}"]
    return words


def _example(schema: Schema, name: str) -> Any:
    if not schema.get("examples"):
        raise ValueError(f"{name} is required and has no example: give it one where its route is declared")
    return schema["examples"][0]


def _resolved(schema: Schema, document_: dict[str, Any]) -> Schema:
    if "$ref" not in schema:
        return schema
    resolved: Schema = document_["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return resolved


def _overview(document_: dict[str, Any]) -> Iterator[Row]:
    for method, path, operation in operations(document_):
        yield code(f"{method} {path}"), f"[{operation['summary']}](#{slug(operation['summary'])})"


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _routes(document_: dict[str, Any]) -> Iterator[str]:
    for tag in document_["tags"]:
        yield f"## {tag['name'].capitalize()}\n\n{tag['description']}."
        for method, path, operation in operations(document_):
            if tag["name"] in operation["tags"]:
                yield from _route(method, path, operation, document_)


def _route(method: str, path: str, operation: Operation, document_: dict[str, Any]) -> Iterator[str]:
    scopes = [scope for key in operation.get("security", []) for scope in key["key"]]
    yield f"### {operation['summary']}"
    yield f"{code(f'{method} {path}')}; {f'a key with the scope {code(scopes[0])}' if scopes else 'no key is needed'}."
    yield operation["description"]
    yield f"```sh\n{curl(method, path, operation, document_)}\n```"
    yield table(("Parameter", "In", "Values", "Default", "Meaning"), _parameters(operation))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        fields = _resolved(content["schema"], document_)
        kind = "Form field" if media_type.startswith("multipart/") else "JSON field"
        yield table((kind, "Values", "Default", "Meaning"), _fields(fields))
    yield table(("Answer", "What"), _answers(operation))


def _parameters(operation: Operation) -> Iterator[Row]:
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        default = "required" if parameter["required"] else default_in_words(schema)
        yield code(parameter["name"]), parameter["in"], type_in_words(schema), default, parameter["description"]


def _fields(schema: Schema) -> Iterator[Row]:
    for name, field in schema["properties"].items():
        default = "required" if name in schema.get("required", []) else default_in_words(field)
        yield code(name), type_in_words(field), default, field.get("description", "")


def _answers(operation: Operation) -> Iterator[Row]:
    for status, answer in sorted(operation["responses"].items()):
        slugs = [code(found) for found, _ in _PROBLEM.findall(answer["description"])]
        bodies = [_body(*content) for content in answer.get("content", {}).items()]
        words = "" if answer["description"] == "Successful Response" else answer["description"]
        yield status, ", ".join(slugs or [part for part in (words, *dict.fromkeys(bodies)) if part]) or "no body"


def _body(media_type: str, content: dict[str, Any]) -> str:
    schema = content["schema"]
    return type_in_words(schema) if "$ref" in schema else code(media_type)


def _problems(document_: dict[str, Any]) -> Iterable[Row]:
    found = {
        (status, slug_, " ".join(meaning.split()))
        for *_, operation in operations(document_)
        for status, answer in operation["responses"].items()
        for slug_, meaning in _PROBLEM.findall(answer["description"])
    }
    return [(status, code(slug_), meaning) for status, slug_, meaning in sorted(found)]


def _bodies(document_: dict[str, Any]) -> Iterator[str]:
    for name, schema in sorted(document_["components"]["schemas"].items()):
        if not name.startswith("Body_"):
            yield f"### {name}"
            yield schema.get("description", "")
            yield table(
                ("Field", "Values", "Meaning"),
                ((code(field), type_in_words(of), of.get("description", "")) for field, of in _properties(schema)),
            )


def _properties(schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield from schema.get("properties", {}).items()
