"""Weights as safetensors files: written, read, and loaded into a network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from bspa.models.layers import Network
from bspa.models.registry import build, recognise
from bspa.system.files import atomic_path

FORMAT = "bspa-weights-1"


def save_weights(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors and metadata to one safetensors file; equal content gives equal bytes."""
    plain = {
        name: value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    # safetensors writes metadata in another order in each process, so it is inserted here, sorted.
    # The format: length of the header (8 bytes), header (JSON, padded with spaces to 8 bytes), tensors.
    serialised = safetensors.torch.save(plain)
    end = 8 + int.from_bytes(serialised[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(serialised[8:end])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary:
        temporary.write_bytes(len(text).to_bytes(8, "little") + text + serialised[end:])


def load_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors, on the CPU, and the metadata of a safetensors file.

    Raises:
        FileNotFoundError: there is no file at ``path``.
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
    """Load ``tensors`` into ``model``, whose device, precision and memory layout stay.

    Raises:
        ValueError: names are missing or unexpected, or shapes differ, or the scale that ``metadata`` tells
            (FSRCNN's shapes do not). ``path`` names the file that they come from.
    """
    expected = f"{type(model).__name__}({model.extra_repr()})"
    scale = (metadata or {}).get("scale")
    if scale is not None and scale != str(getattr(model, "scale", scale)):
        raise ValueError(f"{path}: weights for scale {scale} cannot be loaded into {expected}")
    own = model.state_dict()
    problems = {
        "missing": [name for name in own if name not in tensors],
        "unexpected": [name for name in tensors if name not in own],
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
            for name, value in own.items()
            if name in tensors and tensors[name].shape != value.shape
        ],
    }
    if any(problems.values()):
        found = recognise(tensors)
        raise ValueError(
            f"{path}: these weights do not fit {expected}"
            + (f"; they look like {found}" if found else "")
            + "".join(f"; {len(names)} {what}: {some(names)}" for what, names in problems.items() if names)
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
    """Write a state dict to a file whose header says how to build the network; ``key`` is the product's."""
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
    """Build the network that a file of `save_network` describes, and load its weights.

    Returns:
        The network on the CPU, in evaluation mode: float RGB (n, 3, h, w) in [0, 1] to (n, 3, s h, s w), with
        s as its ``scale``.

    Raises:
        FileNotFoundError: there is no file at ``path``.
        ValueError: the file is damaged, its header does not describe a network, or the weights do not fit it.
    """
    tensors, metadata = load_weights(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path}: format is {metadata.get('format')!r}; allowed: {FORMAT!r}, as written by this workflow "
            "(`reference.weights` of the config imports MSRResNet's weights from other programs)"
        )
    try:
        options = json.loads(metadata["options"])
        model = build(metadata["architecture"], int(metadata["scale"]), **options)
    except KeyError as error:
        raise ValueError(f"{path}: its header has no {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its header describes no network: {error}") from error
    load_into(model, tensors, path=path)
    return model.eval()


def some(names: list[str], shown: int = 4) -> str:
    """Join the first names for a message."""
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
