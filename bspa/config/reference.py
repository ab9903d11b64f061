"""Print docs/configuration.md from the settings classes: python -m bspa.config.reference."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bspa.config.code import PACKAGE
from bspa.config.schema import Config, Method, Name, Sha256

PREFACE = """\
# Configuration

<!-- Generated from the settings classes in bspa/config/schema.py. Do not edit; run
     python -m bspa.config.reference > docs/configuration.md -->

`config.yaml` in the checkout holds every key with the value of the default run, and a comment. It is always
read first. To change something, edit it, or leave it alone and lay a file of your own over it:

    snakemake --cores 8 results/tables/table4.csv --configfile own.yaml

Running again redoes the stages that depend on a changed value and nothing else.

## How files are laid over each other

- **Mappings merge, lists replace.** An overlay need only name what differs. `data: {benchmarks: [set5]}`
  keeps `data.train` and drops every other benchmark.
- **Several files** may follow `--configfile`, and a later one wins; so the target stands before it, or after
  `--`. `--config` on the command line wins over all files: `--config "training={epochs: 3}"`.
- **An overlay cannot take a key away.** A source that changes its `kind`, or a network that changes its
  `arch`, keeps the other kind's keys and is refused: give it a new name.
- **Recipes extend recipes.** In `methods`, `extends: NAME` starts from another recipe's values; nested
  sections merge key by key, and `null` takes one away (`attribution: null`). The label is not inherited. A
  recipe sees the changes of the one that it extends, whichever file they stand in.

## Values

- **Unknown keys are refused**, with the nearest known one. All mistakes come in one message.
- **Types are not converted.** A number in quotes is text. So is `2e-4`, since YAML wants a point: `2.0e-4`.
- **Names** (of sources, archives, class splits, models, methods) are made of lower-case letters, digits and
  underscores, and begin with a letter. They are parts of file names under `results/`.
- **NAME** and **SCALE** in the headings below stand for names of your own, and for `x2`, `x3` or `x4`.
- **Default** is what holds where no file has the key. `required` means that there is no such value;
  `config.yaml` gives one.
- Editors that read `schemas/config.schema.json`, which the head of `config.yaml` names, complete keys and
  show this help.
"""

PHOTOS = """\
## How photographs are read

Every source is decoded by the same rules, each file to its end, before anything is made of any.

{rules}

A photograph whose sides are not multiples of the scale is cut at its bottom and right.
"""

# The keys that tell branches of a union apart; each branch is a section of its own here.
TAGS = ("kind", "arch")
SCALES_FOR_NAMES = ("sub_images", "weights")
SCALARS = {int: "whole number", float: "number", bool: "true or false", str: "text"}
NAME = "name"
LIMITS = ("ge", "gt", "le", "min_length", "max_length", "pattern")
PATTERNS = {
    get_args(Name)[1].metadata[0].pattern: NAME,
    get_args(Sha256)[1].metadata[0].pattern: "SHA-256 (64 hexadecimal digits)",
}


def reference() -> str:
    """Return docs/configuration.md."""
    sections = [_section(heading, section) for heading, section in _sections(Config, "", "")]
    rules = ast.get_docstring(ast.parse((PACKAGE / "photos.py").read_text(encoding="utf-8")))
    assert rules, "bspa/photos.py states how photographs are converted"
    photos = PHOTOS.format(rules=rules.split("\n\n", 1)[1].replace("``", "`"))
    return "\n".join([PREFACE, *sections, photos])


def _sections(section: type[BaseModel], path: str, branch: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield ``section`` and those inside it with their headings, in the order of the config."""
    for tag in TAGS:
        if tag in section.model_fields:
            branch = f", `{tag}: {get_args(section.model_fields[tag].annotation)[0]}`"
    yield (f"`{path}`{branch}" if path else "Sections"), section
    for name, field in section.model_fields.items():
        for inner, named in _classes(field.annotation):
            place = f"{path}.{name}".lstrip(".")
            if named:
                place += ".SCALE" if name in SCALES_FOR_NAMES else ".NAME"
            yield from _sections(inner, place, branch)


def _classes(annotation: Any, named: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """Yield the settings classes in a type, and whether they stand under names of the user's."""
    if _is_section(annotation):
        yield annotation, named
    elif get_origin(annotation) is not Literal:
        for argument in get_args(annotation):
            yield from _classes(argument, named or get_origin(annotation) is dict)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _section(heading: str, section: type[BaseModel]) -> str:
    rows = [(f"`{name}`", *_cells(name, field)) for name, field in section.model_fields.items()]
    if section is Method:
        rows.insert(0, ("`extends`", NAME, "none", "Another recipe, whose values this one starts from."))
    lines = [
        f"## {heading}",
        "",
        section.__doc__ or "",
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(" ".join(cell.split()) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cells(name: str, field: FieldInfo) -> tuple[str, str, str]:
    """Type, default and meaning of a key."""
    default = "required"
    if not field.is_required():
        value = field.get_default()
        default = "its own defaults" if isinstance(value, BaseModel) else f"`{json.dumps(value)}`"
    meaning = field.description
    if meaning is None:
        meaning = "See the heading." if name in TAGS else (field.annotation.__doc__ or "")
    return _type(field.annotation, field.metadata), default, meaning


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Describe a type and its limits in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], [limit for field in arguments[1:] for limit in field.metadata])
    if origin is Literal:
        return _any_of([f"`{value}`" for value in arguments])
    if origin in (Union, UnionType):
        options = dict.fromkeys(_type(option, metadata) for option in arguments if option is not NoneType)
        null = ["`null`"] if NoneType in arguments else []
        return _any_of(sorted(options, key=lambda text: not text.startswith("`")) + null)
    limits = {name: getattr(limit, name) for limit in metadata for name in LIMITS if hasattr(limit, name)}
    if origin is list:
        return f"list of {_plural(_type(arguments[0]))}{_describe(limits)}"
    if _is_section(annotation) or origin is dict:
        own_names = origin is dict and arguments[0] is not str
        return f"a section for each {_type(arguments[0])}" if own_names else "section"
    return PATTERNS.get(limits.get("pattern"), SCALARS[annotation] + _describe(limits))


def _any_of(texts: Sequence[str]) -> str:
    return f"{', '.join(texts[:-1])} or {texts[-1]}" if len(texts) > 1 else texts[0]


def _plural(text: str) -> str:
    head, comma, rest = text.partition(",")
    return f"{head}s{comma}{rest}" if head in (NAME, *SCALARS.values()) else text


def _describe(limits: Mapping[str, Any]) -> str:
    match limits:
        case {"ge": least, "le": most}:
            return f", {least} to {most}"
        case {"ge": least}:
            return f", {least} or more"
        case {"gt": below}:
            return f", more than {below}"
        case {"min_length": least, "max_length": most} if least == most:
            return f", {least} of them"
        case {"min_length": 1}:
            return ", at least one"
    return ""


def main() -> None:
    """Print it."""
    print(reference(), end="")


if __name__ == "__main__":
    main()
