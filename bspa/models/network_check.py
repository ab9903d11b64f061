"""What a network of spandrel must do before it is trained: enlarge, learn, and load again in spandrel."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bspa.models.layers import Network
from bspa.models.spandrel import import_spandrel
from bspa.models.weights import load_model, save_network


def check_spandrel(network: Network, *, arch: str, batch: int, side: int) -> dict[str, Any]:
    """Try a network of spandrel as training, delivery and evaluation use it.

    Args:
        network: freshly built; it may be changed.
        arch: its name in the registry.
        batch: patches of a training step; two of them are tried at most.
        side: of an LR patch in pixels.

    Returns:
        ``parameters`` that are trained, ``untrained`` names of those that get no gradient, and
        ``receptive_radius`` in LR pixels (None: unlimited, or not to be told).

    Raises:
        ValueError: the output has another size or is not finite, no parameter gets a gradient, or the saved
            weights give another output in spandrel.
    """
    name = f"spandrel {network.options['name']}"
    parameters = [p for p in network.parameters() if p.requires_grad]
    samples = min(batch, 2)
    try:
        y = network.train()(torch.rand(samples, 3, side, side))
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{name}: it cannot be trained with a batch of {batch} and LR patches of {side} pixels ({error})"
            + ("; its normalisation may need training.batch: 2 or more" if batch == 1 else "")
        ) from error
    _expect(y, (samples, 3, side * network.scale, side * network.scale), name)
    y.abs().mean().backward()
    gradients = [p.grad for p in parameters if p.grad is not None]
    if len(gradients) < len(parameters) or not any(bool(gradient.any()) for gradient in gradients):
        raise ValueError(f"{name}: some parameters get no gradient in training with these options")
    if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
        raise ValueError(f"{name}: its first gradient is not finite")
    _compare_with_spandrel(network, arch, name)
    return {
        "parameters": sum(p.numel() for p in parameters),
        "untrained": [key for key, p in network.named_parameters() if not p.requires_grad],
        "receptive_radius": network.receptive_radius,
    }


@torch.no_grad()
def _compare_with_spandrel(network: Network, arch: str, name: str) -> None:
    """Compare, on an image of odd size, with what spandrel computes from the saved file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.safetensors")
        save_network(
            path, network.state_dict(), arch=arch, scale=network.scale, options=network.options, key="check"
        )
        ours, theirs = load_model(path), import_spandrel().ModelLoader(device="cpu").load_from_file(path)
    image = torch.rand(1, 3, 17, 21)
    y = ours(image)
    _expect(y, (1, 3, 17 * network.scale, 21 * network.scale), name)
    difference = float((y.clamp(0, 1) - theirs(image)).abs().max())
    if difference:
        raise ValueError(
            f"{name}: spandrel computes another image from the saved weights (difference {difference:g}), "
            "since it cannot tell some of the options from them; use spandrel's values of options that shape "
            "no weight, e.g. of img_range"
        )


def _expect(y: Tensor, shape: tuple[int, ...], name: str) -> None:
    if tuple(y.shape) != shape:
        raise ValueError(f"{name}: output is {tuple(y.shape)} instead of {shape}")
    if not bool(torch.isfinite(y).all()):
        raise ValueError(f"{name}: output is not finite with these options")
