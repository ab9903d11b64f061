"""What the file of a network, and the files beside it, say about the network."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

from bspa.metrics.catalogue import METRICS
from bspa.models.registry import count_parameters, recognise
from bspa.models.released import load_released
from bspa.models.upscalers import ForeignNetwork, load_upscaler
from bspa.models.weights import FORMAT, load_model, load_weights
from bspa.system.reading import reading

Description = dict[str, Any]
"""What `json.dump` takes; see `describe`."""


def describe(path: str | os.PathLike[str]) -> Description:
    """Describe the network in a file.

    Returns:
        ``file``, ``bytes``, ``sha256``, and ``kind``, which decides the rest:

        - ``delivered`` (by this workflow): architecture, scale, options, parameters; ``made``, all else that
          the header says; ``summary``, what training cost, and ``scores``, from the files in the folder of
          results; empty where these are not there.
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
    if path.suffix.lower() == ".onnx":
        return {**general, "kind": "onnx", **_describe_onnx(path)}
    if path.suffix.lower() == ".safetensors" and load_weights(path)[1].get("format") == FORMAT:
        return {**general, "kind": "delivered", **_describe_delivered(path)}
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


def _describe_delivered(path: Path) -> Description:
    network, (_, header) = load_model(path), load_weights(path)
    known = {"architecture", "scale", "options", "format"}
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
    try:
        import onnx
    except ImportError as error:
        raise ValueError(f'{path}: reading ONNX needs the extra "onnx": pip install "bspa[onnx]"') from error
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # of protobuf and of the checker, which share no base
        raise ValueError(f"{path}: not an ONNX file, or a damaged one ({error!r:.80})") from error
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
        "metadata": metadata,
    }


def _shape(value: Any) -> list[int | str]:
    sides = value.type.tensor_type.shape.dim
    return [side.dim_param or (side.dim_value if side.HasField("dim_value") else "?") for side in sides]
