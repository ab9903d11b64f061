"""Small networks of each architecture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from bspa.models.layers import Network
from bspa.models.registry import build
from bspa.models.weights import save_network

SMALL: dict[str, dict[str, int | float]] = {
    "edsr": {"blocks": 2, "channels": 8},
    "fsrcnn": {"d": 8, "s": 4, "m": 2},
    "msrresnet": {"blocks": 2, "channels": 8},
    "rcan": {"groups": 2, "blocks": 2, "channels": 8, "reduction": 2},
}
SCALES = (2, 3, 4, 8)


def small(
    arch: str, scale: int = 4, *, seed: int = 0, options: Mapping[str, int | float] | None = None
) -> Network:
    """Build a network in evaluation mode, of `SMALL`'s options where none are given."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch, scale, **(options or SMALL[arch])).eval()


def deliver(path: Path, arch: str, scale: int = 4, *, seed: int = 0, key: str = "k", **made: str) -> Path:
    """Write a small network to a file as a run delivers it."""
    weights = small(arch, scale, seed=seed).state_dict()
    save_network(path, weights, arch=arch, scale=scale, options=SMALL[arch], key=key, **made)
    return path


def channels_last(model: Network) -> Network:
    """Convert the weights to torch's channels-last format."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
