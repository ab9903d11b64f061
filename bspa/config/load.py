"""From the merged config to `Config`: every mistake in one message, with its file, key, value and cure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bspa.config.checks import Key, Problem, inconsistencies, nearest
from bspa.config.schema import Config, Method, Training

MOST_VALUES = 100_000


def load_config(values: Mapping[str, Any], files: Sequence[str] = ()) -> Config:
    """Check the merged config ``values``.

    Args:
        values: what config.yaml, ``--configfile`` and ``--config`` give together.
        files: the files it was read from, in order; for messages.

    Raises:
        ValueError: one message that lists every mistake.
    """
    _refuse_bombs(values)
    _refuse_repeated_keys(files)
    try:
        config = Config.model_validate(dict(values))
    except ValidationError as error:
        problems = _own_problems(_problems(error, Config), values)
    else:
        problems = [*_training_problems(config), *inconsistencies(config)]
        if not problems:
            return config
    contents = {file: _content(file) for file in reversed(files)}
    lines = [
        f"  {_origin(key, values, contents)}{'.'.join(map(str, key))}: {text}" if key else f"  {text}"
        for key, text in problems
    ]
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


def _refuse_bombs(values: Mapping[str, Any]) -> None:
    """Refuse a config whose YAML anchors expand to more than can be worked with."""
    waiting: list[Any] = [values]
    for _ in range(MOST_VALUES):
        if not waiting:
            return
        value = waiting.pop()
        if isinstance(value, Mapping | list):
            waiting.extend(value.values() if isinstance(value, Mapping) else value)
    raise ValueError(
        f"the config has more than {MOST_VALUES:,} values; is it a YAML anchor within an anchor?"
    )


def _refuse_repeated_keys(files: Sequence[str]) -> None:
    """Refuse files in which a section has a key twice, of which YAML would take the last."""
    problems = []
    for file in files:
        with contextlib.suppress(yaml.YAMLError):  # which Snakemake has told
            root = yaml.compose(_text(file), yaml.SafeLoader)
            problems += [f"  {file}: {problem}" for problem in _repeated_keys(root)]
    if problems:
        raise ValueError("\n".join(["the config has a key twice in one section:", *problems]))


def _content(file: str) -> Any:
    try:
        return yaml.safe_load(_text(file))
    except yaml.YAMLError:  # Snakemake has another reader
        return None


def _text(file: str) -> str:
    """Read a file of YAML or JSON, which may be indented by tabs; YAML may not."""
    return Path(file).read_text(encoding="utf-8").replace("\t", " ")


def _repeated_keys(root: yaml.Node | None) -> Iterator[str]:
    """Describe each key that stands twice in a section, with both lines."""
    waiting: list[tuple[yaml.Node | None, str]] = [(root, "")]
    seen: set[int] = set()  # an anchor's node may stand in many places
    while waiting:
        node, place = waiting.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(inner, f"{place}{number}.") for number, inner in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, inner in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in lines and isinstance(key, yaml.ScalarNode):
                    yield f"{place}{name} stands in lines {lines[name]} and {line}; remove one of them"
                lines[name] = line
                waiting.append((inner, f"{place}{name}."))


# ---- mistakes ------------------------------------------------------------------------------------------


def _problems(error: ValidationError, root: type[BaseModel], place: Key = ()) -> list[Problem]:
    """List the mistakes in a section; one that is `auto` or a number has two errors for each mistake."""
    found = []
    for details in error.errors():
        if details["loc"][-1:] != ("literal['auto']",):
            key, section = _resolve(details["loc"], root)
            found.append(((*place, *key), _describe(details, section)))
    return found


def _training_problems(config: Config) -> list[Problem]:
    """Check each network's own values of `training`."""
    problems: list[Problem] = []
    for name in config.models:
        try:
            config.training_of(name)
        except ValidationError as error:
            problems += _problems(error, Training, ("models", name, "training"))
    return problems


def _own_problems(problems: list[Problem], values: Mapping[str, Any]) -> list[Problem]:
    """Leave out a recipe's mistakes that are those of the recipe it extends."""

    def inherited(key: Key, text: str) -> bool:
        base = _look_up(values, (*key[:2], "extends"))
        own = _look_up(values, key) is not _MISSING
        return key[:1] == ("methods",) and not own and (("methods", base, *key[2:]), text) in problems

    return [problem for problem in problems if not inherited(*problem)]


def _resolve(location: Sequence[str | int], root: type[BaseModel]) -> tuple[Key, type[BaseModel]]:
    """Return the key at an error's location, and the section that holds it.

    The location also holds the tags of branches of unions (`kind` or `arch`), and names of types.
    """
    key: list[str | int] = []
    section, branches = root, [root]
    for part in location:
        sections = [branch for branch in branches if hasattr(branch, "model_fields")]
        tagged = [branch for branch in sections if len(sections) > 1 and part in _tags(branch)]
        if tagged:
            branches = tagged
        elif part not in ("[key]", "int", "constrained-int"):
            key.append(part)
            section = sections[0] if sections else section
            branches = [inner for branch in branches for inner in _inside(branch, part)]
    return tuple(key), section


def _tags(section: type[BaseModel]) -> list[Any]:
    fields = [section.model_fields[tag] for tag in ("kind", "arch") if tag in section.model_fields]
    return [value for field in fields for value in get_args(field.annotation)]


def _inside(annotation: Any, part: str | int) -> list[Any]:
    """List the types that the value at ``part`` inside a type may have."""
    fields = getattr(annotation, "model_fields", {})
    if part in fields:
        inner = fields[part].annotation
    elif get_origin(annotation) in (dict, list):
        inner = get_args(annotation)[-1]
    else:
        return []
    if get_origin(inner) is Annotated:
        inner = get_args(inner)[0]
    return list(get_args(inner)) if get_origin(inner) in (Union, UnionType) else [inner]


def _describe(error: ErrorDetails, section: type[BaseModel]) -> str:
    """Say what is wrong in the user's terms."""
    value, kind, location = error["input"], error["type"], error["loc"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
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
        text = isinstance(value, str) and value.lstrip().startswith("{")
        hint = (
            " (YAML cannot read this text: put quotes around what begins with * or holds # or :)"
            if text
            else ""
        )
        return f"{value!r} is not allowed; a section (key: value lines) is needed here{hint}"
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
    if isinstance(value, Mapping):
        return "section"
    return "null" if value is None else names.get(type(value), type(value).__name__)


# ---- the file that a value comes from ----------------------------------------------------------------------


def _origin(key: Key, values: Mapping[str, Any], contents: Mapping[str, Any]) -> str:
    """Name the file, of ``contents``, that a key, or its nearest parent that is there, has its value from."""
    parents = [key[:length] for length in range(len(key), 0, -1)]
    present = next((parent for parent in parents if _look_up(values, parent) is not _MISSING), None)
    if present is None:
        return ""
    value = _look_up(values, present)
    held = {file: _look_up(content, present) for file, content in contents.items()}
    same = [file for file, found in held.items() if found == value]
    # Sections merge, so a file may hold a part of one; anything else is whole, from a file or from none.
    if isinstance(value, Mapping):
        same += [file for file, found in held.items() if found is not _MISSING]
    return f"{same[0]}: " if same else "--config: "


_MISSING = object()


def _look_up(section: Any, key: Key) -> Any:
    for part in key:
        try:
            section = section[part]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return section
