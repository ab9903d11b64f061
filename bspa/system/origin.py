"""What a file came from: the plan says what decides it, records beside the inputs how these were computed.

Delivered weights and figures carry their origin in their headers, tables in a JSON file beside them: plain
values, with neither paths of the machine nor dates.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bspa.system.digests import read_note
from bspa.system.versions import package_versions

Origin = dict[str, Any]
"""For a file: ``rule``, ``key``; of all jobs on the way to it, ``settings`` (rule -> name -> the values that
occur), ``code`` (rule -> digests), ``modules`` (module -> digest), ``timed`` (whether a run took as long as
another); ``data`` (source -> see `photographs_in`) and ``ran`` (see `how_it_ran`)."""

NAME = "Origin"
"""Of the text in a PNG; in lower case of the entry in the header of weights."""


def origin_of(snakemake: Any) -> Origin:
    """Return the origin of what a job is about to write."""
    told = dict(snakemake.params.origin)
    data = {source: photographs_in(manifest) for source, manifest in told.pop("manifests").items()}
    return {**told, "data": data, "ran": how_it_ran(snakemake)}


def how_it_ran(snakemake: Any) -> list[dict[str, Any]]:
    """Return how a job and those before it computed: ``rules``, ``packages``, and ``device`` where it counts.

    A device is ``cuda:`` and the GPU, or ``cpu:`` and the processor and its number of threads.
    """
    own: dict[str, Any] = {"rules": [snakemake.rule], "packages": package_versions()}
    if snakemake.params.get("compute") and "torch" in sys.modules:
        import torch

        from bspa.system.devices import describe_device

        device = torch.device("cuda" if torch.cuda.is_initialized() else "cpu")
        own["device"] = f"{device.type}: {describe_device(device)}"
    return merge_ran([own, *(entry for file in snakemake.input for entry in read_note(file) or ())])


def merge_ran(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Gather the rules of jobs that ran alike."""
    alike: dict[str, set[str]] = {}
    for entry in entries:
        how = {name: value for name, value in entry.items() if name != "rules"}
        alike.setdefault(json.dumps(how, sort_keys=True), set()).update(entry["rules"])
    return [{"rules": sorted(rules), **json.loads(how)} for how, rules in sorted(alike.items())]


def photographs_in(manifest: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the number of photographs of a manifest, and the SHA-256 of their names and content."""
    with Path(manifest).open(newline="", encoding="utf-8") as file:
        rows = [{name: row[name] for name in row if "path" not in name} for row in csv.DictReader(file)]
    digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    return {"photographs": len({row["id"] for row in rows}), "sha256": digest}


def in_words(origin: Origin, file: str) -> str:
    """Write the gist of an origin in sentences without the last full stop; ``file`` holds the whole."""
    data = ", ".join(f"{name} {found['sha256'][:12]}" for name, found in origin["data"].items())
    packages: dict[str, set[str]] = {}
    for entry in origin["ran"]:
        for name in ("python", "torch", "bspa"):
            packages.setdefault(name, set()).add(entry["packages"].get(name, "none"))
    versions = ", ".join(f"{name} {' and '.join(sorted(found))}" for name, found in packages.items())
    code = origin["code"][origin["rule"]][0]
    return f"Key {origin['key']}, code {code}, {versions}; photographs {data}. {Path(file).name} has the rest"


def read_origin(path: str | os.PathLike[str]) -> Origin | None:
    """Return what a file says of its origin; of a folder of results, what its ``provenance.json`` says.

    Returns:
        None if it says nothing: a file of another kind, of another program, or of an older version.

    Raises:
        FileNotFoundError: there is nothing at ``path``.
        ValueError: the file is damaged.
    """
    path = Path(path)
    if path.is_dir():
        path /= "provenance.json"
    try:
        text = _find_text(path)
        origin = json.loads(text) if text else None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError) as error:
        raise ValueError(f"{path}: damaged: its origin cannot be read ({error!r:.80})") from error
    return origin if isinstance(origin, dict) and "ran" in origin else None


def _find_text(path: Path) -> str | None:
    """Return the JSON in a file's header, or in the file beside it."""
    suffix, content = path.suffix.lower(), path.read_bytes()
    if suffix == ".json" and path.with_suffix(".safetensors").exists():  # the summary beside weights
        return _find_text(path.with_suffix(".safetensors"))
    if suffix == ".safetensors":
        end = 8 + int.from_bytes(content[:8], "little")
        return json.loads(content[8:end]).get("__metadata__", {}).get(NAME.lower())
    if suffix == ".onnx":
        return next((e.value for e in load_onnx(path).metadata_props if e.key == NAME.lower()), None)
    if suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            return image.info.get(NAME)
    if suffix == ".pdf":  # as matplotlib writes it
        found = re.search(rb"/Keywords \(((?:\\.|[^\\)])*)\)", content)
        return re.sub(rb"\\(.)", rb"\1", found[1]).decode() if found else None
    if suffix in (".csv", ".md", ".tex", ".html"):
        beside = path.with_suffix(".json")
        return beside.read_text(encoding="utf-8") if beside.exists() else None
    if suffix == ".json":
        return content.decode()
    return None


def load_onnx(path: Path) -> Any:
    """Read an ONNX file, and check it.

    Raises:
        ValueError: the extra ``onnx`` is not installed, or the file is damaged.
    """
    try:
        import onnx
    except ImportError as error:
        raise ValueError(f'{path}: reading ONNX needs the extra "onnx": pip install "bspa[onnx]"') from error
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # of protobuf and of the checker, which share no base
        raise ValueError(f"{path}: not an ONNX file, or a damaged one ({error!r:.80})") from error
    return model
