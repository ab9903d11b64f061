"""Weights as safetensors files: written, read, and loaded into a network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from bspa.models.layers import Network
from bspa.models.registry import build
from bspa.system.files import atomic_path

FORMAT = "bspa-weights-1"
NAMES_SHOWN = 4


def save_weights(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors as one safetensors file; equal content gives equal bytes.

    Args:
        path: the file, ``.safetensors``.
        tensors: by name; of any device and memory layout.
        metadata: text by key, kept in the header.
    """
    assert Path(path).suffix == ".safetensors", path
    assert all(isinstance(value, str) for value in metadata.values()), metadata
    plain = {
        name: value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(_with_metadata(safetensors.torch.save(plain), metadata))


def load_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file; `bspa.models.released` reads other formats.

    Returns:
        The tensors by name, on the CPU, and the metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, damaged or empty.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error})") from error
    if not tensors:
        raise ValueError(f"{path}: holds no weights")
    return tensors, metadata


def load_into(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Load ``tensors`` into ``model``: every name, every shape.

    Args:
        model: the network; its device, precision and memory layout stay.
        tensors: state dict.
        path: the file that they come from, for messages.
        metadata: of the file; its ``scale``, if any, must be the network's (FSRCNN's shapes do not tell).

    Raises:
        ValueError: names are missing or unexpected, or shapes or the scale differ.
    """
    expected = f"{type(model).__name__}({model.extra_repr()})"
    scale = (metadata or {}).get("scale")
    if scale is not None and hasattr(model, "scale") and scale != str(model.scale):
        raise ValueError(f"{path}: weights for scale {scale} cannot be loaded into {expected}")
    own = model.state_dict()
    missing = [name for name in own if name not in tensors]
    unexpected = [name for name in tensors if name not in own]
    reshaped = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if missing or unexpected or reshaped:
        from bspa.models.recognise import recognise

        found = recognise(tensors)
        raise ValueError(
            f"{path}: these weights are not of {expected}"
            + (f"; they look like {found}" if found else "")
            + _some("missing", missing)
            + _some("unexpected", unexpected)
            + _some("of another shape", reshaped)
        )
    model.load_state_dict(tensors)


def save_network(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    arch: str,
    scale: int,
    options: Mapping[str, int | float],
    key: str,
    **metadata: str,
) -> None:
    """Write a network's weights as one safetensors file whose header says how to build the network.

    Args:
        path: the file, ``.safetensors``.
        tensors: state dict.
        arch: architecture.
        scale: of the network.
        options: of the architecture.
        key: of the product.
        metadata: further text for the header.
    """
    header = {
        "format": FORMAT,
        "architecture": arch,
        "scale": str(scale),
        "options": json.dumps(dict(options), sort_keys=True),
        "input": "RGB in [0, 1], (n, 3, h, w)",
        "key": key,
    }
    save_weights(path, tensors, {**metadata, **header})


def load_model(path: str | os.PathLike[str]) -> Network:
    """Build the network that a file of `save_network` describes, with its weights.

    Returns:
        The network on the CPU, in evaluation mode: float RGB (n, 3, h, w) in [0, 1] to (n, 3, s h, s w), with
        ``s`` as its ``scale``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, its header does not say how to build the network, or the weights do
            not fit that network.
    """
    tensors, metadata = load_weights(path)
    try:
        arch, scale = metadata["architecture"], int(metadata["scale"])
        options = json.loads(metadata["options"])
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: its header does not name architecture, scale and options; weights of other programs "
            "are imported by `reference.weights` of the config"
        ) from error
    model = build(arch, scale, **options)
    load_into(model, tensors, path=path)
    return model.eval()


def _some(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    return f"; {len(names)} {what}: {shown}" if names else ""


def _with_metadata(serialised: bytes, metadata: Mapping[str, str]) -> bytes:
    # safetensors orders metadata differently in each process, so it is put in here, sorted.
    # The format: length of the header (8 bytes), header (JSON, padded to 8 bytes with spaces), tensors.
    end = 8 + int.from_bytes(serialised[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(serialised[8:end])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + serialised[end:]
