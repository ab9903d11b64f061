"""What no section of the config can see alone: names that must exist, values that must fit each other."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from bspa.config.schema import Config, Method, scale_key

Key = tuple[str | int, ...]
Problem = tuple[Key, str]


def nearest(name: str, known: Collection[str]) -> str:
    """Suggest the known name nearest to ``name``, and list what is allowed."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"{meant} (allowed: {', '.join(known)})"


def inconsistencies(config: Config) -> Iterator[Problem]:
    """Yield each problem with its key."""
    for key, name, known, section in _references(config):
        if name not in known:
            yield key, f"{name!r} is not one of `{section}`{nearest(name, known)}"
    for key, values in _lists(config):
        for number, value in enumerate(values):
            if value in values[:number]:
                yield (*key, number), f"{value!r} is listed twice"
    yield from _grid_problems(config)
    for name, method in config.methods.items():
        for own, text in _recipe_problems(config, name, method):
            yield ("methods", name, own), text
    if "maps" in config.patch_selections:
        yield ("patch_selections", "maps"), "'maps' is taken by the file of error maps; use another name"
    for key, file in _given_files(config):
        if "://" not in file and not Path(file).expanduser().is_file():
            yield key, f"{file!r} is not a file"
    figure = config.figures.attribution
    if figure and figure.method in config.methods and config.methods[figure.method].attribution is None:
        yield ("figures", "attribution", "method"), f"{figure.method!r} has no attribution to show"


def _references(config: Config) -> Iterator[tuple[Key, str, Collection[str], str]]:
    """Yield each name that stands for a section: its key, the name, the known names, and where those are."""
    for use in ("train", "validation"):
        yield ("data", use), getattr(config.data, use), config.sources, "sources"
    for number, name in enumerate(config.data.benchmarks):
        yield ("data", "benchmarks", number), name, config.sources, "sources"
    for name, source in config.sources.items():
        if source.kind == "archive":
            yield ("sources", name, "archive"), source.archive, config.archives, "archives"
    yield ("reference", "model"), config.reference.model, config.models, "models"
    for name, method in config.methods.items():
        if method.sampling in ("inverse", "alternating"):
            yield ("methods", name, "class_split"), method.class_split, config.class_splits, "class_splits"
        if method.sampling == "informative":
            known = config.patch_selections
            yield ("methods", name, "patch_selection"), method.patch_selection, known, "patch_selections"
        if method.match_steps is not None:
            yield ("methods", name, "match_steps"), method.match_steps, config.methods, "methods"
    for key, section in _shown(config):
        yield from _shown_references(config, key, section)


def _shown(config: Config) -> Iterator[tuple[Key, Any]]:
    """Yield the sections of tables and figures that are not null."""
    yield from ((("tables", name), table) for name, table in config.tables.items() if table)
    yield from ((("figures", name), figure) for name, figure in config.figures if figure)


def _shown_references(
    config: Config, key: Key, section: Any
) -> Iterator[tuple[Key, str, Collection[str], str]]:
    single: dict[str, tuple[str, Collection[str]]] = {
        "model": ("models", config.models),
        "method": ("methods", config.methods),
        "class_split": ("class_splits", config.class_splits),
    }
    for field, (where, known) in single.items():
        if hasattr(section, field):
            yield (*key, field), getattr(section, field), known, where
    several: dict[str, tuple[str, Collection[str]]] = {
        "models": ("models", config.models),
        "methods": ("methods", config.methods),
        "benchmarks": ("sources", config.sources),
    }
    for field, (where, names) in several.items():
        for number, name in enumerate(getattr(section, field, None) or []):
            yield (*key, field, number), name, names, where
    for number, region in enumerate(getattr(section, "regions", [])):
        if hasattr(region, "benchmark"):
            yield (*key, "regions", number, "benchmark"), region.benchmark, config.sources, "sources"


def _lists(config: Config) -> Iterator[tuple[Key, Sequence[Any]]]:
    """Yield the lists that may name nothing twice."""
    yield ("scales",), config.scales
    yield ("seeds",), config.seeds
    yield ("data", "benchmarks"), config.data.benchmarks
    for key, section in _shown(config):
        for field in ("models", "methods", "benchmarks", "scales", "metrics"):
            yield (*key, field), getattr(section, field, None) or []


def _grid_problems(config: Config) -> Iterator[Problem]:
    for scale in config.scales:
        grid = config.sub_images.get(scale_key(scale))
        if grid is None:
            yield ("sub_images",), f"x{scale} is missing, but scales has {scale}"
            continue
        for field in ("size", "step"):
            value = getattr(grid, field)
            if value % scale:
                near = value - value % scale or scale
                yield (
                    ("sub_images", f"x{scale}", field),
                    f"{value} is not divisible by the scale {scale}; use a multiple of {scale}, e.g. {near}",
                )


def _recipe_problems(config: Config, name: str, method: Method) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a recipe, by its key."""
    if method.attribution is not None and method.sampling != "alternating":
        yield "attribution", f"needs sampling: alternating, but sampling is {method.sampling}"
    if method.loss == "uncertainty" and method.sampling != "uniform":
        yield "loss", f"uncertainty needs sampling: uniform, but sampling is {method.sampling}"
    other = config.methods.get(method.match_steps or "")
    if other is not None and (other.match_steps is not None or method.match_steps == name):
        yield (
            "match_steps",
            f"{method.match_steps!r} itself matches another recipe; name one that does not",
        )


def _given_files(config: Config) -> Iterator[tuple[Key, str]]:
    for scale, weights in config.reference.weights.items():
        yield ("reference", "weights", scale, "file"), weights.file
    if config.perceptual.niqe:
        yield ("perceptual", "niqe", "file"), config.perceptual.niqe.file
