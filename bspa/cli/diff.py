"""Say what differs between two runs, and whether their results must.

    bspa diff results/models/fsrcnn_x4_bspa_seed0.safetensors old/fsrcnn_x4_bspa_seed0.safetensors
    bspa diff results runs/halved
    bspa diff results/tables/table4.csv ~/Downloads/table4.csv

RUN is a delivered network, an ONNX file made of it, a table, a figure, or a folder of results. Settings stand
with their path, code by module, photographs by the SHA-256 of their names and content. The status is 0 if the
results must be equal, 1 if they may differ.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Change = tuple[Any, Any]
"""Before, and after; None: not there."""
UNTOLD = (
    "it tells no origin; take a delivered network, a table, a figure, or a folder of results with "
    "provenance.json, as this version writes them"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What differs between two runs."""

    settings: dict[str, Change]
    """By path: ``training.batch`` of the config for folders, ``train_uniform.batch`` for files."""
    code: dict[str, Change]
    """Digests by module."""
    data: dict[str, Change]
    """Photographs, by source."""
    packages: dict[str, Change]
    """Versions by package."""
    devices: dict[str, Change]
    """What the jobs computed on, by rule; a processor with its number of threads."""
    products: int
    """How many both have; 1 for files."""
    changed: list[str]
    """Those of them that have another key."""
    inexact: str
    """Why a run does not repeat its own bits; empty: it does."""

    @property
    def equal(self) -> bool:
        """Whether the results must be equal, bit by bit."""
        return self.products > 0 and not (self.changed or self.packages or self.devices or self.inexact)

    @property
    def verdict(self) -> str:
        """Whether the results must be equal, in a sentence."""
        elsewhere = [name for name in ("packages", "devices") if getattr(self, name)]
        decisive = [name for name in ("settings", "code", "data") if getattr(self, name)]
        if not self.products:
            return "they have no product in common"
        if self.changed:
            number = f"{len(self.changed)} of the {self.products} products that both have" * (
                self.products > 1
            )
            return f"results may differ: {number or 'another key'}, by {' and '.join(decisive + elsewhere)}"
        same = "the same key" if self.products == 1 else f"{self.products} products, each with the same key"
        if decisive:
            same += f"; what differs in {' and '.join(decisive)} changes no result"
        if elsewhere:
            return f"{same}; {' and '.join(elsewhere)} differ, so results may differ by rounding"
        if self.inexact:
            return f"{same}; results may differ, since {self.inexact}"
        return f"{same}, versions and devices: results must be equal, bit by bit"


def diff(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> Difference:
    """Compare what two runs came from.

    Args:
        first, second: delivered networks, ONNX files made of them, tables, figures; or folders of results,
            or their ``provenance.json``.

    Raises:
        FileNotFoundError: there is nothing at a path.
        ValueError: a file is damaged or tells no origin, or only one of the two is a folder.
    """
    from bspa.system.origin import read_origin

    origins = []
    for path in (first, second):
        origin = read_origin(path)
        if origin is None:
            raise ValueError(f"{path}: {UNTOLD}")
        origins.append(origin)
    if ("config" in origins[0]) != ("config" in origins[1]):
        raise ValueError(
            f"{first}, {second}: one is a folder of results, the other a file; take two of a kind"
        )
    keys = [dict(_keys(origin)) for origin in origins]
    both = [name for name in keys[0] if name in keys[1]]

    def changes(of: Any) -> dict[str, Change]:
        before, after = map(of, origins)
        names = [name for name in before | after if before.get(name) != after.get(name)]
        return {name: (before.get(name), after.get(name)) for name in names}

    gpu = any(entry.get("device", "").startswith("cuda") for origin in origins for entry in origin["ran"])
    inexact = ["training on a GPU does not repeat its bits"] * gpu
    inexact += ["match_seconds trains as long as the machine takes"] * any(o["timed"] for o in origins)
    return Difference(
        settings=changes(lambda origin: dict(_flat(_settings(origin, origins)))),
        code=changes(lambda origin: origin["modules"]),
        data=changes(lambda origin: origin["data"]),
        packages=changes(_packages),
        devices=changes(_devices),
        products=len(both),
        changed=[name for name in both if keys[0][name] != keys[1][name]],
        inexact=" and ".join(inexact),
    )


def _keys(origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name the keys of a folder's products by their files; a file's own has no name."""
    if "products" in origin:
        yield from ((product["file"], product["key"]) for product in origin["products"])
    else:
        yield "", origin["key"]


def _settings(origin: Mapping[str, Any], origins: list[Any]) -> Any:
    """Return the config of a folder; or a file's settings by rule, "run" where the other has not the rule."""
    if "config" in origin:
        return origin["config"]
    rules = [set(of_one["settings"]) for of_one in origins]
    both = rules[0] & rules[1]
    return {rule: values if rule in both else "run" for rule, values in origin["settings"].items()}


def _flat(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Name the values of nested sections by their paths, with dots."""
    if isinstance(values, Mapping) and values:
        for name, value in values.items():
            yield from _flat(value, f"{path}.{name}" if path else name)
    else:
        yield path, values


def _packages(origin: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for entry in origin["ran"]:
        for name, version in entry["packages"].items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def _devices(origin: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for entry in origin["ran"]:
        for rule in entry["rules"] if "device" in entry else ():
            found.setdefault(rule, set()).add(entry["device"])
    return {rule: sorted(devices) for rule, devices in sorted(found.items())}


def as_text(difference: Difference) -> str:
    """Write a difference as lines, the verdict last."""
    lines = []
    for part in ("settings", "code", "data", "packages", "devices"):
        changes: dict[str, Change] = getattr(difference, part)
        lines += [part] if changes else []
        lines += [f"  {name}: {shown(old)} -> {shown(new)}" for name, (old, new) in changes.items()]
    if difference.products > 1 and difference.changed:
        counts = Counter(name.partition("/")[0] for name in difference.changed)
        lines += ["products", *(f"  {folder}: {number}" for folder, number in counts.items())]
    return "\n".join([*lines, difference.verdict])


def shown(value: Any) -> str:
    """Write a value in short: a digest by its first digits, a list of one by what it holds."""
    match value:
        case None:
            return "none"
        case {"photographs": number, "sha256": digest}:
            return f"{number} photographs, {digest[:12]}"
        case [one]:
            return shown(one)
        case [*several]:
            return " and ".join(map(shown, several))
        case str():
            return value
    return json.dumps(value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    parser.add_argument("runs", nargs=2, type=Path, metavar="RUN", help="file, or folder of results")
    parser.add_argument("--json", action="store_true", help="print a JSON object, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand; return 1 if the results may differ."""
    found = diff(*arguments.runs)
    if arguments.json:
        told = {**asdict(found), "equal": found.equal, "verdict": found.verdict}
        print(json.dumps(told, indent=1))
    else:
        print(as_text(found))
    return int(not found.equal)
