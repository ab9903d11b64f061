"""Weights that other programs wrote, read without running their code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bspa.models.weights import NAMES_SHOWN, load_weights

PICKLES = (".pth", ".pt", ".pkl")

WRAPPERS = ("params_ema", "params", "state_dict", "model")
"""Where checkpoints keep the weights; the first that is there counts."""


def load_released(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read weights from ``.safetensors``, or from a PyTorch file (``.pth``, ``.pt``, ``.pkl``).

    A PyTorch file may hold the weights under one of `WRAPPERS`. A ``module.`` that begins every name
    (`torch.nn.DataParallel`) is cut off.

    Returns:
        The tensors by name, on the CPU, and the metadata (empty for a PyTorch file).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind or damaged, or a pickle that would have to run code.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        tensors, metadata = load_weights(path)
    elif suffix in PICKLES:
        tensors, metadata = _read_pickle(path), {}
    else:
        raise ValueError(f"{path}: weights are read from .safetensors, {', '.join(PICKLES)}, not {suffix!r}")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors, metadata


def _read_pickle(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        try:
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path}: refused: a pickle that would run code, or not a PyTorch file; save the weights "
                "alone in its program: torch.save(model.state_dict(), ...)"
            ) from error
        except Exception as error:  # torch's reader fails in many ways on a damaged file
            raise ValueError(f"{path}: not a PyTorch file, or a damaged one ({error!r:.80})") from error
    if isinstance(content, Mapping):
        content = next((content[w] for w in WRAPPERS if isinstance(content.get(w), Mapping)), content)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not weights by name")
    others = [repr(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others or not all(isinstance(name, str) for name in content):
        raise ValueError(
            f"{path}: not weights by name, but {', '.join(others[:NAMES_SHOWN])} beside them; weights in a "
            f"checkpoint are looked for under {', '.join(WRAPPERS)}"
        )
    if not content:
        raise ValueError(f"{path}: holds no weights")
    return dict(content)
