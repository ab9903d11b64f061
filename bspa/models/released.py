"""Weights that other programs wrote, read without running their code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bspa.models.weights import load_weights, some

PICKLES = (".pth", ".pt", ".pkl", ".pth.tar", ".pt.tar", ".bin", ".ckpt")

WRAPPERS = (
    "params-ema", "params_ema", "params", "state_dict", "model", "model_state_dict",
    "net", "netG", "netG_state_dict", "generator",
)  # fmt: skip
"""Keys under which checkpoints hold the weights, one within another too; the first one found counts."""

MOST_WRAPPERS = 4  # a file may hold a wrapper within itself

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "netG.", "generator.")
"""What `torch.nn.DataParallel`, `torch.compile` and training programs put before every name."""


def load_released(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read weights and metadata from ``.safetensors``, or weights from a PyTorch file.

    A PyTorch file may hold the weights under one of `WRAPPERS`. `PREFIXES` of every name are removed.

    Raises:
        FileNotFoundError: there is no file at ``path``.
        ValueError: the file is of another kind or damaged, a pickle that needs to run code, or holds tensors
            that are no weights: of whole or complex numbers, sparse, or with values that are not finite.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        tensors, metadata = load_weights(path)
    elif path.name.lower().endswith(PICKLES):
        tensors, metadata = _read_pickle(path), {}
    else:
        allowed = f".safetensors, {', '.join(PICKLES)}"
        raise ValueError(f"{path}: suffix is {path.suffix.lower()!r}; allowed: {allowed}")
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    problems = [f"{name} {problem}" for name, value in tensors.items() if (problem := _no_weight(value))]
    if problems:
        raise ValueError(f"{path}: {some(problems)}; allowed: finite numbers in floating point")
    return tensors, metadata


def _no_weight(tensor: Tensor) -> str | None:
    """Say why a tensor is not a weight of a network."""
    if tensor.layout != torch.strided:
        return f"is sparse ({tensor.layout})"
    if not tensor.is_floating_point():
        return f"is {str(tensor.dtype).removeprefix('torch.')}"
    if not tensor.float().isfinite().all():
        return "has values that are NaN or infinite"
    return None


def _read_pickle(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        try:
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path}: refused: not a PyTorch file, or a pickle that needs to run code; allowed: weights "
                "alone, as saved by torch.save(model.state_dict(), ...)"
            ) from error
        except Exception as error:  # torch's reader fails in many ways on a damaged file
            raise ValueError(f"{path}: not a PyTorch file, or a damaged one ({error!r:.80})") from error
    for _ in range(MOST_WRAPPERS):
        if isinstance(content, Mapping):
            content = next((content[w] for w in WRAPPERS if isinstance(content.get(w), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path}: holds no weights by name but a {type(content).__name__}")
    others = [repr(k) for k, v in content.items() if not (isinstance(k, str) and isinstance(v, Tensor))]
    if others:
        raise ValueError(
            f"{path}: {some(others)}: not weights by name; allowed: weights alone, or under one of the keys "
            f"{', '.join(WRAPPERS)}"
        )
    return dict(content)
