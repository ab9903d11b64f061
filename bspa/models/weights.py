"""Weights on disk: safetensors written and read, released PyTorch files read without running their code."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from bspa.models.recognise import recognise
from bspa.system.files import atomic_path

PICKLES = (".pth", ".pt", ".pkl")
# Under these keys training programs keep the weights; the first that is there is taken (BasicSR's averaged
# weights, BasicSR, Lightning and many, others).
WRAPPERS = ("params_ema", "params", "state_dict", "model")
NAMES_SHOWN = 4


def save_weights(
    path: str | os.PathLike[str], state_dict: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write ``state_dict`` as one safetensors file, atomically; equal content gives equal bytes.

    Args:
        path: the file, ``.safetensors``.
        state_dict: tensors by name, of any device and memory layout.
        metadata: text by key, kept in the header.
    """
    assert Path(path).suffix == ".safetensors", path
    assert all(isinstance(value, str) for value in metadata.values()), metadata
    tensors = {
        name: value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, value in state_dict.items()
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(_with_metadata(safetensors.torch.save(tensors), metadata))


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
    """Write a network's weights as one safetensors file whose header says how to build it.

    Args:
        path: the file, ``.safetensors``.
        tensors: the state dict.
        arch: architecture.
        scale: of the network.
        options: of the architecture.
        key: of the product.
        metadata: further text for the header.
    """
    header = {
        "architecture": arch,
        "scale": str(scale),
        "options": json.dumps(options, sort_keys=True),
        "key": key,
    }
    save_weights(path, tensors, {**metadata, **header})


def load_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read weights from ``.safetensors``, or from a PyTorch file (``.pth``, ``.pt``, ``.pkl``).

    A PyTorch file may hold the weights under one of `WRAPPERS`. A ``module.`` that begins every name
    (`torch.nn.DataParallel`) is cut off.

    Returns:
        The tensors by name, on the CPU, and the metadata (empty for a PyTorch file).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, damaged, or a pickle that would have to run code.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", *PICKLES):
        raise ValueError(f"{path}: weights are read from .safetensors, {', '.join(PICKLES)}, not {suffix!r}")
    state_dict, metadata = _read_safetensors(path) if suffix == ".safetensors" else (_read_pickle(path), {})
    if not state_dict:
        raise ValueError(f"{path}: holds no weights")
    if all(name.startswith("module.") for name in state_dict):
        state_dict = {name.removeprefix("module."): value for name, value in state_dict.items()}
    return state_dict, metadata


def load_into(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    *,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Put ``state_dict`` (read from ``path``, named in errors) into ``model``: every name, every shape.

    Args:
        model: the network; its device, precision and memory layout stay.
        state_dict: tensors by name.
        path: for messages.
        metadata: of the file; its ``scale``, where it has one, must be the network's (FSRCNN has the same
            shapes at every scale, so the tensors cannot tell).

    Raises:
        ValueError: names are missing or unexpected, shapes or the scale differ.
    """
    expected = f"{type(model).__name__}({model.extra_repr()})"
    scale = (metadata or {}).get("scale")
    if scale is not None and hasattr(model, "scale") and scale != str(model.scale):
        raise ValueError(
            f"{path}: these are weights for scale {scale}; they were to be loaded into {expected}"
        )
    own = model.state_dict()
    shapes = [
        f"{name} {tuple(state_dict[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in state_dict and state_dict[name].shape != value.shape
    ]
    problems = [
        _some("missing", [name for name in own if name not in state_dict]),
        _some("unexpected", [name for name in state_dict if name not in own]),
        _some("of another shape", shapes),
    ]
    if any(problems):
        found = recognise(state_dict)
        hint = f"; they look like {found}" if found else ""
        raise ValueError(
            f"{path}: these weights are not of {expected}{hint}. {'; '.join(filter(None, problems))}"
        )
    model.load_state_dict(state_dict)


def _some(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    return f"{len(names)} {what}: {shown}" if names else ""


def _with_metadata(serialised: bytes, metadata: Mapping[str, str]) -> bytes:
    # safetensors orders metadata differently in each process, so it is put in here, sorted.
    # The format: length of the header (8 bytes), header (JSON, padded to 8 bytes with spaces), tensors.
    end = 8 + int.from_bytes(serialised[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(serialised[8:end])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + serialised[end:]


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error})") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path}: refused, for it is more than a state dict (a pickle that would run code) or not a "
                "PyTorch file; in its program, save the weights alone: torch.save(model.state_dict(), ...)"
            ) from error
        except Exception as error:  # torch's reader fails in many ways on a damaged file
            raise ValueError(f"{path}: not a PyTorch file, or a damaged one ({error!r:.80})") from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not weights by name")
    others = [repr(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others or not all(isinstance(name, str) for name in content):
        raise ValueError(
            f"{path}: not weights by name, but {', '.join(others[:NAMES_SHOWN])} beside them; "
            f"weights inside a checkpoint are looked for under {', '.join(WRAPPERS)}"
        )
    return dict(content)
