"""Weights that other programs wrote, read without running their code."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from bspa.data.fetch import fetch
from bspa.models.registry import build
from bspa.models.weights import FORMAT, load_into, load_weights, save_network, some
from bspa.system.files import is_address

log = logging.getLogger("bspa")

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


def import_network(
    file: str,
    target: str | os.PathLike[str],
    *,
    sha256: str | None,
    arch: str,
    scale: int,
    options: Mapping[str, int | float | str],
    key: str,
    setting: str,
) -> None:
    """Write the weights in ``file`` as a network of ours, after a strict load into it.

    Args:
        file: a path or an address of weights that `load_released` reads.
        target: the file to write; see `bspa.models.weights.save_network`.
        sha256: digest of ``file``; None: not checked, and the log says what it is.
        arch, scale, options: the network.
        key: of the product.
        setting: the config's key of ``file``, for messages.

    Raises:
        OSError: the file cannot be fetched, or has another digest.
        ValueError: it holds no weights, or those of another network or scale; the message names ``file``.
    """
    # The suffix tells the format (.pth.tar has two parts); an address may end in ?download=1.
    suffix = "".join(PurePosixPath(urlsplit(file).path if is_address(file) else file).suffixes[-2:])
    local = Path(target).with_name(f".given_{Path(target).stem}{suffix}")
    digest = fetch([file], local, sha256=sha256)
    if sha256 is None:
        log.info("to pin this file, set %s.sha256: %s", setting, digest)
    try:
        tensors, metadata = load_released(local)
    except ValueError as error:
        raise ValueError(str(error).replace(str(local), file)) from error
    finally:
        local.unlink(missing_ok=True)
    model = build(arch, scale, **options)
    load_into(model, tensors, path=file, metadata=metadata)
    _check_options(file, metadata, options)
    save_network(
        target, model.state_dict(), arch=arch, scale=scale, options=options, key=key, sha256_of_source=digest
    )


def _check_options(file: str, metadata: Mapping[str, str], options: Mapping[str, int | float | str]) -> None:
    """Refuse weights of ours that were trained in another form of a network with the same shapes."""
    theirs = json.loads(metadata["options"]) if metadata.get("format") == FORMAT else {}
    for name, value in theirs.items():
        if name != "initial" and options.get(name, value) != value:
            raise ValueError(
                f"{file}: these weights are of a network with {name}: {value}; this one has {options[name]}"
            )


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
