"""The networks by name: float RGB (n, 3, h, w) in [0, 1] -> (n, 3, s*h, s*w), not clipped."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from bspa.models.edsr import EDSR
from bspa.models.fsrcnn import FSRCNN
from bspa.models.layers import SCALES, Network
from bspa.models.msrresnet import MSRResNet
from bspa.models.rcan import RCAN

ARCHITECTURES: dict[str, type[Network]] = {
    "edsr": EDSR,
    "fsrcnn": FSRCNN,
    "msrresnet": MSRResNet,
    "rcan": RCAN,
}

TAIL = ("tail.0.0.weight", "tail.0.2.weight", "tail.0.4.weight")
MARKS = {
    "FSRCNN": ("head_conv.0.weight",),
    "MSRResNet": ("conv_first.weight", "upconv1.weight", "upconv2.weight", "upconv3.weight"),
    "RCAN": ("body.0.body.0.body.3.conv_du.0.weight", *TAIL),
    "EDSR": ("head.0.weight", *TAIL),
}
"""For each network a weight that those after it lack, and upsampling convolutions; two at x4, three at x8."""

LEAST_STEPS = {"edsr": 400, "fsrcnn": 10_000, "msrresnet": 300, "rcan": 400}
"""Below so many optimiser steps a network seldom beats bicubic interpolation: see docs/photographs.md."""


def build(arch: str, scale: int, **options: int | float | str) -> Network:
    """Build a freshly initialised network.

    Args:
        arch: a name in `ARCHITECTURES`.
        scale: 2, 3, 4 or 8.
        options: keyword arguments of the architecture's class.

    Returns:
        The network on the CPU, in training mode: float RGB (n, 3, h, w) in [0, 1] -> (n, 3, s*h, s*w).

    Raises:
        ValueError: the architecture or an option is unknown, or a value is not allowed.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {_with_known(arch, ARCHITECTURES)}")
    make: Callable[..., Network] = ARCHITECTURES[arch]
    if type(scale) is not int or scale not in SCALES:
        raise ValueError(f"{arch}: scale is {scale!r}; allowed: {', '.join(map(str, SCALES))}")
    known = {name: p.default for name, p in inspect.signature(make).parameters.items() if name != "scale"}
    for name, value in options.items():
        if name not in known:
            raise ValueError(f"{arch}: unknown option {_with_known(name, known)}")
        if isinstance(known[name], str):
            continue  # the class checks its names
        whole = type(known[name]) is int
        if type(value) not in ((int,) if whole else (int, float)) or not 0 < float(value) < math.inf:
            allowed = "a whole number from 1" if whole else "a number above 0"
            raise ValueError(f"{arch}: {name} is {value!r}; allowed: {allowed}")
    return make(scale=scale, **options)


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def recognise(state_dict: Mapping[str, Tensor]) -> str | None:
    """Describe a state dict's network for messages, e.g. ``EDSR(scale=4)``; FSRCNN's scale cannot be told."""
    for name, (mark, *upsampling) in MARKS.items():
        if mark in state_dict:
            shapes = [state_dict[layer].shape for layer in upsampling if layer in state_dict]
            if not shapes or len(shapes[0]) != 4:
                return name
            return f"{name}(scale={math.isqrt(shapes[0][0] // shapes[0][1]) ** len(shapes)})"
    return None


def _with_known(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, known := sorted(known), n=1, cutoff=0.5)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    return f"{name!r}{hint}; allowed: {', '.join(known)}"
