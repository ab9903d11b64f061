"""What a file, and the files beside it, say about a network, a table, a figure or another product."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bspa.metrics.catalogue import METRICS
from bspa.models.registry import count_parameters, recognise
from bspa.models.released import load_released
from bspa.models.upscalers import ForeignNetwork, load_upscaler
from bspa.models.weights import FORMAT, load_model, load_weights
from bspa.system.origin import load_onnx, read_origin
from bspa.system.reading import reading

Description = dict[str, Any]
"""What `json.dump` takes; see `describe`."""


def describe(path: str | os.PathLike[str]) -> Description:
    """Describe the network in a file, or another product of the workflow.

    Returns:
        ``file``, ``bytes``, ``sha256``; where the file tells it, ``origin`` (`bspa.system.origin.Origin`);
        and ``kind``, which decides the rest:

        - ``delivered`` (by this workflow): architecture, scale, options, parameters; ``made``, all else that
          the header says; ``summary``, what training cost, and ``scores``, from the files in the folder of
          results; empty where these are not there.
        - ``shown``: a table or a figure.
        - ``product``: another file of a folder of results, as its ``provenance.json`` has it: rule, key,
          code, reads.
        - ``onnx``: scale (None if the file does not tell), inputs, outputs, opset, operators, metadata.
        - ``foreign`` (of another program): architecture and scale (None where they cannot be told), tensors,
          parameters, types, metadata.

    Raises:
        FileNotFoundError: there is no file at ``path``.
        ValueError: the file is damaged, or of a kind that nobody here can read.
    """
    path = Path(path)
    content = path.read_bytes()
    general = {"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    # First, since its errors say more than those of the header's reader.
    header = load_weights(path)[1] if path.suffix.lower() == ".safetensors" else {}
    if origin := read_origin(path):
        general["origin"] = origin
    if path.suffix.lower() == ".onnx":
        return {**general, "kind": "onnx", **_describe_onnx(path)}
    if header.get("format") == FORMAT:
        return {**general, "kind": "delivered", **_describe_delivered(path, header)}
    if origin:
        return {**general, "kind": "shown"}
    if product := _find_product(path):
        return {**general, "kind": "product", **product}
    return {**general, "kind": "foreign", **_describe_foreign(path)}


def read_scores(folder: str | os.PathLike[str], name: str) -> dict[str, dict[str, float]]:
    """Return benchmark -> number of images, and means over images of the metrics that were measured.

    Args:
        folder: of results.
        name: of a network's evaluations, ``fsrcnn_x4_bspa_seed0`` or ``bicubic_x4``.

    Raises:
        ValueError: a file is not such a table; it is named.
    """
    scores: dict[str, dict[str, float]] = {}
    for file in sorted(Path(folder).glob("*/*/*.csv")):
        if file.parts[-3] not in ("evaluation", "perceptual") or file.parts[-2] != name:
            continue
        with reading(file, "a table of scores"):
            table = pd.read_csv(file)
            means = {metric: float(table[metric].mean()) for metric in METRICS if metric in table}
        scores.setdefault(file.stem, {"images": len(table)}).update(means)
    return scores


def _find_product(path: Path) -> Description | None:
    """Return what the ``provenance.json`` of the folder of results says of a file in it."""
    path = path.resolve()
    for folder in path.parents:
        whole = read_origin(folder) if (folder / "provenance.json").exists() else None
        if whole and "products" in whole:
            stem = path.relative_to(folder).with_suffix("").as_posix()
            products = (p for p in whole["products"] if p["file"].rpartition(".")[0] == stem)
            return next(products, None)
    return None


def _describe_delivered(path: Path, header: Mapping[str, str]) -> Description:
    network = load_model(path)
    known = {"architecture", "scale", "options", "format", "origin"}
    summary = path.with_suffix(".json")
    with reading(summary, "the summary of a run"):
        spent = json.loads(summary.read_text(encoding="utf-8")) if summary.exists() else {}
    results = path.resolve().parent.parent
    return {
        "architecture": type(network).__name__,
        "scale": network.scale,
        "options": network.options,
        "parameters": count_parameters(network),
        "made": {name: value for name, value in sorted(header.items()) if name not in known},
        "summary": spent,
        "scores": read_scores(results, path.stem),
        "bicubic": read_scores(results, f"bicubic_x{network.scale}"),
    }


def _describe_foreign(path: Path) -> Description:
    problem: ValueError | None = None
    architecture, scale = None, None
    try:
        network = load_upscaler(path)
        assert isinstance(network, ForeignNetwork), "ours have our format"
        architecture, scale = network.model.__class__.__name__, network.scale
    except ValueError as error:  # then, what the tensors tell
        problem = error
    try:
        tensors, metadata = load_released(path)
    except ValueError as error:
        raise problem or error from None
    return {
        "architecture": architecture or recognise(tensors),
        "scale": scale,
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "types": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}),
        "metadata": dict(sorted(metadata.items())),
    }


def _describe_onnx(path: Path) -> Description:
    model = load_onnx(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    scale = metadata.get("scale", "")
    return {
        "architecture": metadata.get("architecture"),
        "scale": int(scale) if scale.isdecimal() else None,
        "parameters": sum(math.prod(tensor.dims) for tensor in model.graph.initializer),
        "inputs": {value.name: _shape(value) for value in model.graph.input},
        "outputs": {value.name: _shape(value) for value in model.graph.output},
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "operators": sorted({node.op_type for node in model.graph.node}),
        "metadata": {name: value for name, value in metadata.items() if name != "origin"},
    }


def _shape(value: Any) -> list[int | str]:
    sides = value.type.tensor_type.shape.dim
    return [side.dim_param or (side.dim_value if side.HasField("dim_value") else "?") for side in sides]
