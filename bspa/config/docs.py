"""Print docs/configuration.md, from its template and the JSON schema: python -m bspa.config.docs."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any

from bspa.config.code import PACKAGE
from bspa.config.json_schema import json_schema

Schema = dict[str, Any]

TEMPLATE = PACKAGE.parent / "docs" / "configuration.md.in"


def configuration() -> str:
    """Return docs/configuration.md."""
    schema = json_schema()
    sections = [_section(path, section) for path, section in _sections(schema, schema, "")]
    photos = ast.get_docstring(ast.parse((PACKAGE / "data" / "photos.py").read_text(encoding="utf-8")))
    assert photos, "bspa/data/photos.py states how photographs are converted"
    rules = photos.split("\n\n", 1)[1].replace("``", "`")
    text = TEMPLATE.read_text(encoding="utf-8")
    return text.replace("@SECTIONS@", "\n".join(sections)).replace("@PHOTOGRAPHS@", rules)


def _sections(schema: Schema, section: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield a section and those inside it with their paths, in the order of the config."""
    yield path, section
    for name, value in section["properties"].items():
        place = f"{path}.{name}".lstrip(".")
        for inner, suffix in _inner(schema, value):
            yield from _sections(schema, inner, place + suffix)


def _inner(schema: Schema, value: Schema, suffix: str = "") -> Iterator[tuple[Schema, str]]:
    """Yield the sections that a value may hold, and what their path ends with."""
    if "$ref" in value:
        yield schema["$defs"][value["$ref"].rpartition("/")[2]], suffix
    for branch in [*_branches(value), *([value["items"]] if "items" in value else [])]:
        yield from _inner(schema, branch, suffix)
    named = value.get("additionalProperties") or next(iter(value.get("patternProperties", {}).values()), None)
    if isinstance(named, dict):
        scales = "enum" in value.get("propertyNames", {})
        yield from _inner(schema, named, f"{suffix}.{'SCALE' if scales else 'NAME'}")


def _branches(value: Schema) -> list[Schema]:
    return [*value.get("anyOf", []), *value.get("oneOf", [])]


def _section(path: str, section: Schema) -> str:
    rows = [
        f"| `{name}` | {_type(value)} | {_default(section, name, value)} | {_text(value)} |"
        for name, value in section["properties"].items()
    ]
    kind = next((v["const"] for v in section["properties"].values() if "const" in v), None)
    heading = (f"`{path}`" if path else "Sections") + (f", {kind}" if kind else "")
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {heading}", "", _text(section), "", *head, *rows, ""])


def _text(described: Schema) -> str:
    return " ".join(described.get("description", "See its section.").split())


def _default(section: Schema, name: str, value: Schema) -> str:
    if name in section.get("required", []):
        return "required"
    default = value.get("default")
    return "its own defaults" if isinstance(default, dict) and default else f"`{json.dumps(default)}`"


def _type(value: Schema) -> str:
    """Describe a type and its limits in words."""
    if branches := _branches(value):
        return " or ".join(dict.fromkeys(map(_type, branches)))
    if "const" in value or "enum" in value:
        return ", ".join(f"`{allowed}`" for allowed in value.get("enum", [value.get("const")]))
    if "$ref" in value:
        return "section"
    words = {"integer": "whole number", "number": "number", "boolean": "true or false", "null": "`null`"}
    match value["type"]:
        case "string":
            pattern = value.get("pattern", "")
            return "SHA-256" if "{64}" in pattern else "name" if pattern.startswith("^[a-z]") else "text"
        case "array":
            return f"list of {_type(value['items'])}"
        case "object":
            return "a section for each name"
        case kind:
            return words[kind] + _limits(value)


def _limits(value: Schema) -> str:
    words = {
        "minimum": "{} or more",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
    }
    limits = [text.format(value[name]) for name, text in words.items() if name in value]
    return f", {', '.join(limits)}" if limits else ""


if __name__ == "__main__":
    print(configuration(), end="")
