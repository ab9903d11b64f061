"""The networks by name: float RGB (n, 3, h, w) in [0, 1] -> (n, 3, s*h, s*w), not clipped."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable

from torch import nn

from bspa.models.edsr import EDSR
from bspa.models.fsrcnn import FSRCNN
from bspa.models.layers import Network
from bspa.models.msrresnet import MSRResNet
from bspa.models.rcan import RCAN

ARCHITECTURES: dict[str, type[Network]] = {
    "edsr": EDSR,
    "fsrcnn": FSRCNN,
    "msrresnet": MSRResNet,
    "rcan": RCAN,
}


def build(arch: str, scale: int, **options: int | float | str) -> Network:
    """Build a freshly initialised network.

    Args:
        arch: a name in `ARCHITECTURES`.
        scale: 2, 3 or 4.
        options: keyword arguments of the architecture's class.

    Returns:
        The network on the CPU, in training mode: float RGB (n, 3, h, w) in [0, 1] -> (n, 3, s*h, s*w).

    Raises:
        ValueError: the architecture or an option is unknown, or a value is not allowed.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {_with_known(arch, ARCHITECTURES)}")
    make: Callable[..., Network] = ARCHITECTURES[arch]
    known = [name for name in inspect.signature(make).parameters if name != "scale"]
    for name in options:
        if name not in known:
            raise ValueError(f"{arch}: unknown option {_with_known(name, known)}")
    return make(scale=scale, **options)


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _with_known(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, known := sorted(known), n=1, cutoff=0.5)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    return f"{name!r}{hint}; allowed: {', '.join(known)}"
