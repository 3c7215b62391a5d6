"""JSON schemas in words: types, bounds, defaults."""

from typing import Any

from docs.generate.markdown import code, number

Schema = dict[str, Any]

_NAMES = {"integer": "whole number", "boolean": "true or false", "string": "text", "object": "object"}
_FORMATS = {"path": "path", "file-path": "path", "binary": "file", "date-time": "time", "password": "secret"}


def type_in_words(schema: Schema) -> str:
    """What a value may be."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    words = " or ".join(_one(schema | kind if len(kinds) == 1 else kind) for kind in kinds)
    return f"{words} or null" if {"type": "null"} in schema.get("anyOf", []) and "default" not in schema else words


def default_in_words(schema: Schema) -> str:
    """What it is where it is not set."""
    match schema.get("default"):
        case None | "":
            return "none"
        case bool() as value:
            return code(str(value).lower())
        case value:
            return code(value)


def _one(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    if schema.get("type") == "array":
        return f"list of {type_in_words(schema['items'])}"
    kind = str(schema.get("type", "any"))
    return f"{_FORMATS.get(schema.get('format', ''), _NAMES.get(kind, kind))}{_bounds(schema)}"


def _bounds(schema: Schema) -> str:
    length = f" of at most {number(schema['maxLength'])} characters" if "maxLength" in schema else ""
    if length or "pattern" in schema:
        return length + (f" {code(schema['pattern'])}" if "pattern" in schema else "")
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f", {number(low)} to {number(high)}"
    words = [f"at least {number(low)}"] if low is not None else []
    words += [f"above {number(above)}"] if above is not None else []
    words += [f"at most {number(high)}"] if high is not None else []
    words += [f"below {number(below)}"] if below is not None else []
    return f", {' and '.join(words)}" if words else ""
