"""What no section of the config can see alone: names that must exist, values that must fit each other."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from bspa.config.schema import Config, Method, Training, scale_key
from bspa.system.files import is_address, user_path

_ABSENT = object()

Key = tuple[str | int, ...]
Problem = tuple[Key, str]

REFERENCES = {
    "data.train": "sources",
    "data.validation": "sources",
    "data.benchmarks.*": "sources",
    "sources.*.archive": "archives",
    "reference.model": "models",
    "methods.*.match_steps": "methods",
    "methods.*.match_seconds": "methods",
    "training.validation.source": "sources",
    "models.*.training.validation.source": "sources",
    "tables.*.models.*": "models",
    "tables.*.methods.*": "methods",
    "tables.*.benchmarks.*": "sources",
    "figures.*.model": "models",
    "figures.*.models.*": "models",
    "figures.*.method": "methods",
    "figures.*.methods.*": "methods",
    "figures.*.class_split": "class_splits",
    "figures.*.regions.*.benchmark": "sources",
}
"""Keys whose value is a name in another section; `*` stands for any name or number."""

FILES = ("reference.weights.*.file", "models.*.start.*.file", "perceptual.niqe.file")

TAKEN = {
    "models.bicubic": "the tables' rows of bicubic interpolation",
    "methods.bicubic": "the tables' rows of bicubic interpolation",
    "methods.reference": "the training of the reference network",
    "patch_selections.maps": "the file of error maps",
    "tables.classes": "the table of classes",
}
"""Names that stand for something else."""

UNIQUE = (
    "scales", "seeds", "data.benchmarks", "tables.*.models", "tables.*.methods", "tables.*.benchmarks",
    "tables.*.scales", "tables.*.metrics", "figures.*.models", "figures.*.methods",
    "methods.*.attribution.modules",
)  # fmt: skip
"""Lists that may name nothing twice."""


def nearest(name: str, known: Collection[str]) -> str:
    """Suggest the known name nearest to ``name``, and list what is allowed."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"{meant} (allowed: {', '.join(known)})"


def inconsistencies(config: Config) -> Iterator[Problem]:
    """Yield each problem with its key."""
    values = config.model_dump()
    for pattern, section in REFERENCES.items():
        for key, name in _at(values, pattern):
            yield from _unknown(key, name, section, values)
    for pattern in UNIQUE:
        for key, listed in _at(values, pattern):
            for number, value in enumerate(listed):
                if value in listed[:number]:
                    yield (*key, number), f"{value!r} is listed twice"
    for pattern in FILES:
        for key, file in _at(values, pattern):
            if problem := _file_problem(file):
                yield key, problem
    yield from _name_problems(config)
    yield from _degradation_problems(config)
    yield from _grid_problems(config)
    for name, method in config.methods.items():
        if method.sampling in ("inverse", "alternating"):
            yield from _unknown(("methods", name, "class_split"), method.class_split, "class_splits", values)
        if method.sampling == "informative":
            chosen = method.patch_selection
            yield from _unknown(("methods", name, "patch_selection"), chosen, "patch_selections", values)
        for own, text in _recipe_problems(config, name, method):
            yield ("methods", name, own), text
    for name in config.models:
        with suppress(ValidationError):  # a mistake of its own, which is told elsewhere
            for own, text in _training_problems(config, config.training_of(name), name):
                yield ("models", name, "training", own), text
            yield from _devices_problems(config, name)
    figure = config.figures.attribution
    if figure and figure.method in config.methods and config.methods[figure.method].attribution is None:
        yield ("figures", "attribution", "method"), f"{figure.method!r} has no attribution to show"


def _at(value: Any, pattern: str, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield the values at a pattern of keys, as far as they are there and not null."""
    if value is None:
        return
    if not pattern:
        yield key, value
        return
    first, _, rest = pattern.partition(".")
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in items:
        if first in ("*", name):
            yield from _at(inner, rest, (*key, name))


def _unknown(key: Key, name: str, section: str, values: dict[str, Any]) -> Iterator[Problem]:
    if name not in values[section]:
        yield key, f"{name!r} is not one of `{section}`{nearest(name, values[section])}"


def _file_problem(file: str) -> str | None:
    """Say why a given file cannot be taken; an address is not tried."""
    try:
        there = is_address(file) or user_path(file).is_file()
    except (OSError, ValueError) as error:  # no such home folder, or a folder that may not be entered
        return f"{file!r} cannot be read ({error})"
    return None if there else f"{file!r} is not a file"


def _grid_problems(config: Config) -> Iterator[Problem]:
    for scale in config.scales:
        grid = config.sub_images.get(scale_key(scale))
        if grid is None:
            yield ("sub_images",), f"x{scale} is missing, but scales has {scale}"
            continue
        for field, value in (("size", grid.size), ("step", grid.step)):
            if value % scale:
                near = value - value % scale or scale
                yield (
                    ("sub_images", f"x{scale}", field),
                    f"{value} is not divisible by the scale {scale}; use a multiple of {scale}, e.g. {near}",
                )
        if config.reference.border == "scale" and grid.size <= 2 * scale:
            yield (
                ("sub_images", f"x{scale}", "size"),
                f"{grid.size} leaves nothing to score, since reference.border: scale cuts {scale} pixels "
                f"from each side; use more than {2 * scale}, or border: 0",
            )


def _name_problems(config: Config) -> Iterator[Problem]:
    """Yield names that are taken, and those under which two runs would have the same files or labels."""
    for taken, what in TAKEN.items():
        section, name = taken.split(".")
        if getattr(config, section).get(name, _ABSENT) not in (_ABSENT, None):
            yield (section, name), f"{name!r} is taken by {what}; use another name"
    for section in ("models", "methods"):
        labels = {"bicubic": "bicubic"}
        for name, values in getattr(config, section).items():
            called = labels.setdefault(values.label or name, name)
            if called != name:
                yield (section, name, "label"), f"{values.label or name!r} is what {called!r} is called, too"
    runs: dict[str, tuple[str, str]] = {}
    for model, scale, method in itertools.product(config.models, config.scales, config.methods):
        run = f"{model}_x{scale}_{method}"
        other = runs.setdefault(run, (model, method))
        if other != (model, method):
            yield (
                ("models", model),
                f"with method {method!r}, its files would be named {run}_seed..., as those of model "
                f"{other[0]!r} with method {other[1]!r}; rename one of them",
            )


def _degradation_problems(config: Config) -> Iterator[Problem]:
    """Yield what `data.degradation` cannot degrade."""
    data = config.data
    if not data.degradation:
        return
    if data.train in data.benchmarks and not data.degrade_benchmarks:
        number = data.benchmarks.index(data.train)
        yield (
            ("data", "benchmarks", number),
            f"{data.train!r} is data.train too, whose LR images data.degradation degrades; name other "
            "photographs, or set data.degrade_benchmarks: true",
        )
    learned = {data.train, data.validation}
    for name in config.models:
        with suppress(ValidationError):  # a mistake of its own, which is told elsewhere
            validation = config.training_of(name).validation
            learned |= {validation.source} if validation else set()
    degraded = learned | set(data.benchmarks) if data.degrade_benchmarks else learned - set(data.benchmarks)
    for name in sorted(degraded & config.sources.keys()):
        if getattr(config.sources[name], "lr", None) is not None:
            yield (
                ("sources", name, "lr"),
                "given LR files cannot be degraded, but data.degradation has steps; leave lr out, so that LR "
                "is made of HR, or take data.degradation: []",
            )


def _recipe_problems(config: Config, name: str, method: Method) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a recipe, by its key."""
    if method.attribution is not None and method.sampling != "alternating":
        yield "attribution", f"needs sampling: alternating, but sampling is {method.sampling}"
    if method.loss == "uncertainty" and method.sampling != "uniform":
        yield "loss", f"uncertainty needs sampling: uniform, but sampling is {method.sampling}"
    if method.inverse_steps is not None and method.count_inverse:
        yield "inverse_steps", "needs count_inverse: false, since steps do not count in epochs"
    if method.stretch_schedule and method.match_steps is None:
        yield "stretch_schedule", "needs match_steps"
    if method.stretch_schedule and (method.sampling == "alternating" or method.loss == "uncertainty"):
        yield "stretch_schedule", "needs a recipe of one phase; alternating recipes and UDN have several"
    if method.restart_second_step and method.loss != "uncertainty":
        yield "restart_second_step", f"needs loss: uncertainty, but loss is {method.loss}"
    if method.match_steps is not None and method.match_seconds is not None:
        yield "match_seconds", "match_steps is given, too; give one of them"
    for field in ("match_steps", "match_seconds"):
        matched = getattr(method, field)
        other = config.methods.get(matched or "")
        if other is not None and (getattr(other, field) is not None or matched == name):
            yield field, f"{matched!r} itself matches another recipe; name one that does not"


def _devices_problems(config: Config, model: str) -> Iterator[Problem]:
    """Yield why a network cannot be trained on as many devices as it says."""
    devices, batch = config.models[model].devices, config.training_of(model).batch
    if batch % devices:
        allowed = ", ".join(str(number) for number in range(1, batch + 1) if batch % number == 0)
        yield (
            ("models", model, "devices"),
            f"{devices} does not divide training.batch: {batch}; allowed: {allowed}",
        )
    if devices > 1 and ":" in config.compute.device:
        yield (
            ("models", model, "devices"),
            f"{devices}, but compute.device: {config.compute.device} is one GPU; use cuda or auto there",
        )


def _training_problems(config: Config, training: Training, model: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the training values of a network, by their key."""
    tables = [(name, table) for name, table in config.tables.items() if table and model in table.models]
    asked = [("", training.select), *((f" (tables.{name})", table.weights) for name, table in tables)]
    for where, select in asked:
        if select == "average" and training.ema is None:
            yield "ema", f"is null, but the average of the weights is asked for{where}; give a decay"
        if select == "best" and training.validation is None:
            yield "validation", f"is null, but the best weights are asked for{where}; name a source"
        if select == "best" and training.validation and not training.validation.allow_benchmark:
            source = training.validation.source
            if source in config.data.benchmarks:
                yield (
                    "validation",
                    f"the best weights{where} would be chosen on {source!r}, one of data.benchmarks; use "
                    "other photographs, or set allow_benchmark: true, and tables will say so",
                )
    figure = config.figures.figure7
    if figure and model in figure.models and training.validation is None:
        yield "validation", "is null, but figures.figure7 shows this network's validation; name a source"
