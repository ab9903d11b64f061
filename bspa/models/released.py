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

PICKLES = (".pth", ".pt", ".pkl")

WRAPPERS = ("params_ema", "params", "state_dict", "model")
"""Keys under which checkpoints hold the weights; the first one found counts."""


def load_released(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read weights and metadata from ``.safetensors``, or weights from a PyTorch file.

    A PyTorch file may hold the weights under one of `WRAPPERS`. A prefix ``module.`` of every name (from
    `torch.nn.DataParallel`) is removed.

    Raises:
        FileNotFoundError: there is no file at ``path``.
        ValueError: the file is of another kind or damaged, or a pickle that needs to run code.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        tensors, metadata = load_weights(path)
    elif suffix in PICKLES:
        tensors, metadata = _read_pickle(path), {}
    else:
        raise ValueError(f"{path}: suffix is {suffix!r}; allowed: .safetensors, {', '.join(PICKLES)}")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors, metadata


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
