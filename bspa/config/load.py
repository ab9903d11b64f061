"""From the merged config to `Config`: every mistake in one message, with its file, key, value and cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bspa.config.schema import Config, Method, Model, Source, Training


def load_config(values: Mapping[str, Any], files: Sequence[str] = ()) -> Config:
    """Check the merged config ``values``.

    Args:
        values: what Snakemake made of config.yaml, ``--configfile`` and ``--config``.
        files: the files it was read from, in order; for messages.

    Raises:
        ValueError: one message that lists every mistake.
    """
    problems: list[tuple[tuple[str | int, ...], str]] = []
    config = None
    try:
        config = Config.model_validate(dict(values))
    except ValidationError as error:
        found = [(_location(e), _describe(e)) for e in error.errors() if not _repeats(e)]
        problems = [problem for problem in found if not _inherited(*problem, values, found)]
    if config is not None:
        problems = list(_inconsistencies(config))
    if problems:
        lines = [
            "  " + _where(key, values, files) + ".".join(map(str, key)) + (": " if key else "") + text
            for key, text in problems
        ]
        count = "one mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        raise ValueError("\n".join([f"the config has {count}:", *lines]))
    assert config is not None
    return config


def typed(value: Any) -> Any:
    """Read the texts inside a value of ``--config`` as YAML: Snakemake leaves nested numbers as text there.

    >>> typed({"epochs": "3", "phases": ["uniform"]})
    {'epochs': 3, 'phases': ['uniform']}
    """
    if isinstance(value, Mapping):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


def _inconsistencies(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what each section alone cannot see."""

    def unknown(key: tuple[str | int, ...], name: str, known: Mapping[str, Any], what: str) -> Iterator[Any]:
        if name not in known:
            yield key, _unknown(name, known, what)

    for number, scale in enumerate(config.scales):
        grid = config.sub_images.get(f"x{scale}")  # type: ignore[call-overload]
        if grid is None:
            yield ("sub_images",), f"x{scale} is missing, but scales asks for {scale}"
            continue
        for name in ("size", "step"):
            value = getattr(grid, name)
            if value % scale:
                near = value - value % scale or scale
                cure = f"use a multiple of {scale}, e.g. {near}"
                yield (
                    ("sub_images", f"x{scale}", name),
                    f"{value} is not divisible by the scale {scale}; {cure}",
                )
        if scale in config.scales[:number]:
            yield ("scales", number), f"{scale} stands here twice"
    for number, seed in enumerate(config.seeds):
        if seed in config.seeds[:number]:
            yield ("seeds", number), f"{seed} stands here twice"

    yield from unknown(("data", "train"), config.data.train, config.sources, "sources")
    yield from unknown(("data", "validation"), config.data.validation, config.sources, "sources")
    for number, name in enumerate(config.data.benchmarks):
        yield from unknown(("data", "benchmarks", number), name, config.sources, "sources")
        if name in config.data.benchmarks[:number]:
            yield ("data", "benchmarks", number), f"{name!r} stands here twice"
    for name, source in config.sources.items():
        if source.kind == "archive":
            key = ("sources", name, "archive")
            yield from unknown(key, source.archive, config.archives, "archives")

    for name in config.models:
        try:
            config.training_of(name)
        except ValidationError as error:
            for detail in error.errors():
                yield ("models", name, "training", *detail["loc"]), _describe(detail, Training)
    yield from unknown(("reference", "model"), config.reference.model, config.models, "models")
    for scale_key, weights in config.reference.weights.items():
        if "://" not in weights.file and not Path(weights.file).is_file():
            yield ("reference", "weights", scale_key, "file"), f"{weights.file!r} is not a file"

    if "maps" in config.patch_selections:
        yield ("patch_selections", "maps"), "the name is taken, by the file of maps; use another"
    for name, method in config.methods.items():
        for own, text in _recipe_problems(config, name, method):
            yield ("methods", name, *own), text
    for place, name, known, what in _references(config):
        yield from unknown(place, name, known, what)
    yield from _shown_problems(config)


def _recipe_problems(config: Config, name: str, method: Method) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what is wrong with a recipe, by keys within it."""
    chosen: dict[str, tuple[str, str, Mapping[str, Any]]] = {
        "inverse": ("class_split", "class_splits", config.class_splits),
        "alternating": ("class_split", "class_splits", config.class_splits),
        "informative": ("patch_selection", "patch_selections", config.patch_selections),
    }
    if method.sampling in chosen:
        key, what, known = chosen[method.sampling]
        if getattr(method, key) not in known:
            yield (key,), _unknown(getattr(method, key), known, what)
    if method.attribution is not None and method.sampling != "alternating":
        yield ("attribution",), f"needs sampling: alternating, but sampling is {method.sampling}"
    if method.loss == "uncertainty" and method.sampling != "uniform":
        yield ("loss",), f"uncertainty needs sampling: uniform, but sampling is {method.sampling}"
    if method.match_steps is not None:
        other = config.methods.get(method.match_steps)
        if other is None:
            yield ("match_steps",), _unknown(method.match_steps, config.methods, "methods")
        elif other.match_steps is not None or method.match_steps == name:
            yield (
                ("match_steps",),
                f"{method.match_steps!r} itself matches another recipe; name one that does not",
            )


Reference = tuple[tuple[str | int, ...], str, Mapping[str, Any], str]


def _references(config: Config) -> Iterator[Reference]:
    """Yield every name in tables and figures, with what it must be one of."""
    shown: dict[tuple[str, str], Any] = {("tables", name): table for name, table in config.tables.items()}
    shown |= {("figures", name): figure for name, figure in config.figures}
    known: dict[str, Mapping[str, Any]] = {
        "models": config.models,
        "methods": config.methods,
        "benchmarks": config.sources,
    }
    for key, section in shown.items():
        for name, what in (("model", "models"), ("method", "methods")):
            if hasattr(section, name):
                yield (*key, name), getattr(section, name), known[what], what
        for what, names in known.items():
            for number, name in enumerate(getattr(section, what, None) or []):
                yield (*key, what, number), name, names, "sources" if what == "benchmarks" else what
        if hasattr(section, "class_split"):
            yield (*key, "class_split"), section.class_split, config.class_splits, "class_splits"
        for number, region in enumerate(getattr(section, "regions", [])):
            if hasattr(region, "benchmark"):
                place = (*key, "regions", number, "benchmark")
                yield place, region.benchmark, config.sources, "sources"


def _shown_problems(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with tables and figures besides names."""
    for name, table in config.tables.items():
        for key in ("models", "methods", "benchmarks", "scales", "metrics"):
            values = getattr(table, key, None) or []
            for number, value in enumerate(values):
                if value in values[:number]:
                    yield ("tables", name, key, number), f"{value!r} stands here twice"
    figure = config.figures.attribution
    method = config.methods.get(figure.method) if figure else None
    if figure and method and method.attribution is None:
        yield ("figures", "attribution", "method"), f"{figure.method!r} has no attribution to show"
    niqe = config.perceptual.niqe
    if niqe and "://" not in niqe.file and not Path(niqe.file).expanduser().is_file():
        yield ("perceptual", "niqe", "file"), f"{niqe.file!r} is not a file"


def _unknown(name: str, known: Mapping[str, Any], what: str) -> str:
    return f"{name!r} is not one of `{what}`{_nearest(name, list(known))}"


def _repeats(error: ErrorDetails) -> bool:
    """Whether this is the second of the two errors that `auto`-or-number settings give."""
    return error["loc"][-1:] == ("literal['auto']",)


def _inherited(
    key: tuple[str | int, ...],
    text: str,
    values: Mapping[str, Any],
    problems: Sequence[tuple[tuple[str | int, ...], str]],
) -> bool:
    """Whether this is the mistake of the recipe that a recipe extends, which is told already."""
    base = _look_up(values, (*key[:2], "extends"))
    own = _look_up(values, key) is not _MISSING
    return key[:1] == ("methods",) and not own and (("methods", base, *key[2:]), text) in problems


def _location(error: ErrorDetails) -> tuple[str | int, ...]:
    """Drop what pydantic adds to a key's path: the tag of a union's branch, and `[key]`."""
    parts = list(error["loc"])
    if parts[:1] in (["sources"], ["models"]) and len(parts) > 2 and _TAGS & {parts[2]}:
        del parts[2]
    return tuple(part for part in parts if part != "[key]" and not _is_number_branch(part))


def _is_number_branch(part: str | int) -> bool:
    return part in ("int", "constrained-int")


def _describe(error: ErrorDetails, root: type[BaseModel] = Config) -> str:
    """Say what is wrong in the user's terms."""
    value, kind, context = error["input"], error["type"], error.get("ctx", {})
    if error["loc"] and _is_number_branch(error["loc"][-1]):
        least = f", {context['ge']} or more" if "ge" in context else ""
        return f"{value!r} is not allowed; allowed: auto or a whole number{least}"
    if kind == "extra_forbidden":
        section = _section(root, error["loc"][:-1])
        known = [*section.model_fields, *(["extends"] if section is Method else [])]
        return f"unknown key{_nearest(str(error['loc'][-1]), known)}"
    if kind == "missing":
        return "this key is required and missing"
    if kind == "value_error":
        return str(context["error"])
    if error["loc"] and error["loc"][-1] == "[key]":
        return f"{value!r} is not allowed as a name here; {_rule(error)}"
    hint = ""
    if isinstance(value, str) and kind.startswith(("float", "int")):
        hint = _number_hint(value)
    return f"{value!r} ({_yaml_type(value)}) is not allowed; {_rule(error)}{hint}"


def _rule(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "literal_error" | "union_tag_invalid":
            return f"allowed: {context.get('expected') or context.get('expected_tags')}"
        case "union_tag_not_found":
            return f"it needs the key {context['discriminator'].strip(chr(39))}"
        case "model_type" | "dict_type":
            return "a section (key: value lines) is needed here"
        case "string_pattern_mismatch":
            return f"it must match {context['pattern']}"
        case _:
            return error["msg"][0].lower() + error["msg"][1:]


def _number_hint(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        return ""
    mantissa, e, exponent = value.lower().partition("e")
    if e and "." not in mantissa:
        return f" (YAML reads {value} as text: write {mantissa}.0e{exponent})"
    return f" (write {number:g} without quotes)"


def _yaml_type(value: object) -> str:
    names = {
        str: "text",
        bool: "true/false",
        int: "whole number",
        float: "number",
        list: "list",
        dict: "section",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"{meant} (allowed: {', '.join(known)})"


def _section(root: Any, location: Sequence[str | int]) -> type[BaseModel]:
    """Find the settings class that the key path ``location`` leads to."""
    current = root
    for part in location:
        if get_origin(current) is Annotated:
            current = get_args(current)[0]
        if get_origin(current) in (Union, UnionType):
            options = get_args(current)
            # A tagged union's path names the branch; an optional section has one branch besides null.
            tagged = [o for o in options if part in _tags_of(o)]
            if tagged:
                current = tagged[0]
                continue
            current = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = current.model_fields[str(part)].annotation
        else:
            current = get_args(current)[-1]
    for option in [current, *get_args(current)]:
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    raise AssertionError(f"no section at {location}")


def _tags_of(section: Any) -> tuple[Any, ...]:
    fields = getattr(section, "model_fields", {})
    return tuple(
        tag for name in ("kind", "arch") if name in fields for tag in get_args(fields[name].annotation)
    )


_TAGS = {
    tag for union in (Source, Model) for section in get_args(get_args(union)[0]) for tag in _tags_of(section)
}


def _where(key: Sequence[str | int], values: Mapping[str, Any], files: Sequence[str]) -> str:
    """Name the file that ``key`` has its value from; else, of a key that is missing, its nearest parent's."""
    contents = {file: yaml.safe_load(Path(file).read_text(encoding="utf-8")) for file in reversed(files)}
    for length in range(len(key), 0, -1):
        value = _look_up(values, key[:length])
        holders = [file for file in contents if _look_up(contents[file], key[:length]) is not _MISSING]
        if length == len(key) and value is not _MISSING:
            same = (file for file in holders if _look_up(contents[file], key) == value)
            return f"{next(same, '--config')}: "
        if holders:
            return f"{holders[0]}: "
    return ""


_MISSING = object()


def _look_up(section: Any, key: Sequence[str | int]) -> Any:
    for part in key:
        try:
            section = section[part]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return section
