"""From the merged config to `Config`: every mistake in one message, with its file, key, value and cure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bspa.config.checks import Key, Problem, inconsistencies, nearest
from bspa.config.schema import Config, Method, Training


def load_config(values: Mapping[str, Any], files: Sequence[str] = ()) -> Config:
    """Check the merged config ``values``.

    Args:
        values: what config.yaml, ``--configfile`` and ``--config`` give together.
        files: the files it was read from, in order; for messages.

    Raises:
        ValueError: one message that lists every mistake.
    """
    try:
        config = Config.model_validate(dict(values))
    except ValidationError as error:
        problems = _own_problems([(_key(e, Config), _describe(e, Config)) for e in _once(error)], values)
    else:
        problems = [*_training_problems(config), *inconsistencies(config)]
        if not problems:
            return config
    lines = [f"  {_file_of(key, values, files)}{'.'.join(map(str, key))}: {text}" for key, text in problems]
    count = "one mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    raise ValueError("\n".join([f"the config has {count}:", *lines]))


def typed(value: Any) -> Any:
    """Read the numbers, booleans and nulls inside a value of ``--config``, which Snakemake leaves as text.

    >>> typed({"epochs": "3", "phases": ["uniform"]})
    {'epochs': 3, 'phases': ['uniform']}
    """
    if isinstance(value, Mapping):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    if not isinstance(value, str):
        return value
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return read if value and (read is None or isinstance(read, bool | int | float)) else value


def _once(error: ValidationError) -> list[ErrorDetails]:
    """List the errors; a setting that is `auto` or a number gives two for one mistake."""
    return [details for details in error.errors() if details["loc"][-1:] != ("literal['auto']",)]


def _training_problems(config: Config) -> list[Problem]:
    """Check each network's own values of `training`."""
    problems: list[Problem] = []
    for name in config.models:
        try:
            config.training_of(name)
        except ValidationError as error:
            problems += [
                (("models", name, "training", *e["loc"]), _describe(e, Training)) for e in _once(error)
            ]
    return problems


def _own_problems(problems: list[Problem], values: Mapping[str, Any]) -> list[Problem]:
    """Leave out a recipe's mistakes that are those of the recipe it extends."""

    def inherited(key: Key, text: str) -> bool:
        base = _look_up(values, (*key[:2], "extends"))
        own = _look_up(values, key) is not _MISSING
        return key[:1] == ("methods",) and not own and (("methods", base, *key[2:]), text) in problems

    return [problem for problem in problems if not inherited(*problem)]


def _key(error: ErrorDetails, root: type[BaseModel]) -> Key:
    """Return the key of an error: its location without what pydantic adds for branches of unions."""
    key: list[str | int] = []
    current: Any = root
    for part in error["loc"]:
        branch = _branch(current, part)
        if branch is not None:
            current = branch
        elif part not in ("[key]", "int", "constrained-int"):
            key.append(part)
            current = _inside(current, part)
    return tuple(key)


def _describe(error: ErrorDetails, root: type[BaseModel]) -> str:
    """Say what is wrong in the user's terms."""
    value, kind, location = error["input"], error["type"], error["loc"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        section = _section(root, location[:-1])
        known = [*section.model_fields, *(["extends"] if section is Method else [])]
        return f"unknown key{nearest(str(location[-1]), known)}"
    if kind == "missing":
        return "this key is required and missing"
    if kind == "value_error":
        return str(context["error"])
    if location and location[-1] in ("int", "constrained-int"):
        least = f", {context['ge']} or more" if "ge" in context else ""
        return f"{value!r} is not allowed; allowed: auto or a whole number{least}"
    if kind in ("model_type", "dict_type"):
        return f"{value!r} is not allowed; a section (key: value lines) is needed here"
    rule = error["msg"][0].lower() + error["msg"][1:]
    return f"{value!r} ({_yaml_type(value)}) is not allowed; {rule}{_number_hint(value, kind)}"


def _number_hint(value: Any, kind: str) -> str:
    """Explain a number that YAML reads as text."""
    if not isinstance(value, str) or not kind.startswith(("float", "int")):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    mantissa, e, exponent = value.lower().partition("e")
    if e and "." not in mantissa:
        return f" (YAML reads {value} as text: write {mantissa}.0e{exponent})"
    return f" (write {number:g} without quotes)"


def _yaml_type(value: object) -> str:
    names = {str: "text", bool: "true/false", int: "whole number", float: "number", list: "list"}
    return "null" if value is None else names.get(type(value), "section")


# ---- the settings class at a key ---------------------------------------------------------------------------


def _options(annotation: Any) -> list[Any]:
    """List the branches of a union; of any other type, itself."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return list(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else [annotation]


def _branch(annotation: Any, part: str | int) -> Any:
    """Return the branch that ``part`` of a location names by its tag (`kind` or `arch`), if it names one."""
    options = _options(annotation)
    for option in options if len(options) > 1 else []:
        for tag in ("kind", "arch"):
            field = getattr(option, "model_fields", {}).get(tag)
            if field and part in get_args(field.annotation):
                return option
    return None


def _inside(annotation: Any, part: str | int) -> Any:
    """Return the type of ``part`` inside a type."""
    for option in _options(annotation):
        fields = getattr(option, "model_fields", {})
        if part in fields:
            return fields[part].annotation
        if get_origin(option) in (dict, list):
            return get_args(option)[-1]
    return None


def _section(root: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    current: Any = root
    for part in location:
        current = _branch(current, part) or _inside(current, part)
    return next(option for option in _options(current) if hasattr(option, "model_fields"))


# ---- the file that a value comes from ----------------------------------------------------------------------


def _file_of(key: Key, values: Mapping[str, Any], files: Sequence[str]) -> str:
    """Name the file that ``key`` has its value from; for a missing key, that of its nearest parent."""
    contents = {file: yaml.safe_load(Path(file).read_text(encoding="utf-8")) for file in reversed(files)}
    for length in range(len(key), 0, -1):
        parent = key[:length]
        value = _look_up(values, parent)
        if value is _MISSING:
            continue
        for file, content in contents.items():
            if _look_up(content, parent) == value:
                return f"{file}: "
        # Sections merge, so a file may hold a part of one; anything else is whole, from a file or from none.
        merged = isinstance(value, Mapping) and all(isinstance(part, str) for part in parent)
        holders = [file for file, content in contents.items() if _look_up(content, parent) is not _MISSING]
        if length == len(key) or isinstance(value, list):
            return "--config: "
        if merged and holders:
            return f"{holders[0]}: "
    return ""


_MISSING = object()


def _look_up(section: Any, key: Key) -> Any:
    for part in key:
        try:
            section = section[part]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return section
