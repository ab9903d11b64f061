"""Print docs/configuration.md, made from the JSON schema of the config: python -m bspa.config.docs."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bspa.config.code import PACKAGE
from bspa.config.json_schema import json_schema

Schema = dict[str, Any]

PREFACE = """\
# Configuration

<!-- Generated from bspa/config/schema.py. Do not edit; run
     python -m bspa.config.docs > docs/configuration.md -->

`config.yaml` holds every key with the value of the default run, and a comment. It is always read first. To
change something, edit it, or lay a file of your own over it:

    snakemake --cores 8 results/tables/table4.csv --configfile own.yaml

The same command after a change redoes the stages that depend on the changed value, and nothing else.

## How files are laid over each other

- **Mappings merge, lists replace.** An overlay names only what differs. `data: {benchmarks: [set5]}` keeps
  `data.train` and drops every other benchmark.
- **Targets come first.** `--configfile` and `--config` take everything behind them, so write the target
  before them, or after `--`. Several files may follow `--configfile`; a later one wins, and `--config` wins
  over all files: `snakemake TARGET --configfile own.yaml --config "training={epochs: 8}"`.
- **An overlay cannot remove a key.** A source that changes its `kind`, or a network that changes its
  `arch`, keeps the other kind's keys and is refused: give it a new name.
- **Recipes extend recipes.** In `methods`, `extends: NAME` starts from another recipe's values; nested
  sections merge key by key, and `null` removes one (`attribution: null`). The label is not inherited.

## Values

- **Unknown keys are refused**, with the nearest known one. One message lists all mistakes.
- **Types are not converted.** A number in quotes is text. So is `2e-4`, since YAML wants a point: `2.0e-4`.
- **Names** (of sources, splits, networks, methods) are lower-case letters, digits and underscores, and
  begin with a letter. They are parts of file names.
- `NAME` below stands for a name of your own, `SCALE` for `x2`, `x3` or `x4`. `required` means that there is
  no default; `config.yaml` gives a value.
- Editors that read `schemas/config.schema.json` complete keys and show this help.
"""

PHOTOS = """\
## How photographs are read

Every source is decoded by the same rules, each file to its end, before anything is made of any.

{rules}

A photograph whose sides are not multiples of the scale is cut at its bottom and right.
"""


def configuration() -> str:
    """Return docs/configuration.md."""
    schema = json_schema()
    sections = [_section(path, section) for path, section in _sections(schema, schema, "")]
    rules = ast.get_docstring(ast.parse(Path(PACKAGE, "data", "photos.py").read_text(encoding="utf-8")))
    assert rules, "bspa/data/photos.py states how photographs are converted"
    return "\n".join([PREFACE, *sections, PHOTOS.format(rules=rules.split("\n\n", 1)[1].replace("``", "`"))])


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
    for branch in _branches(value):
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
