"""EDSR (Lim et al., CVPRW 2017), with the parameter names of the authors' EDSR-PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bspa.models.layers import HeadBodyTail, conv3x3


class EDSR(HeadBodyTail):
    """EDSR; the defaults give EDSR_baseline (1,369,859/1,554,499/1,517,571 parameters at x2/x3/x4).

    The large EDSR has 32 blocks, 256 channels and res_scale 0.1. Initialisation: torch's defaults.
    """

    def __init__(self, *, scale: int, blocks: int = 16, channels: int = 64, res_scale: float = 1.0):
        number = isinstance(res_scale, int | float) and not isinstance(res_scale, bool)
        if not (number and math.isfinite(res_scale) and res_scale > 0):
            raise ValueError(
                f"EDSR: res_scale is {res_scale!r}; allowed: a number above 0 (usually 1 or 0.1)"
            )
        super().__init__(
            scale,
            {"blocks": blocks, "channels": channels},
            channels=channels,
            parts=blocks,
            part=lambda: ResidualBlock(channels, res_scale),
        )
        self.options["res_scale"] = res_scale


class ResidualBlock(nn.Module):
    """Two convolutions scaled by ``res_scale``, with a skip connection; no batch normalisation."""

    def __init__(self, channels: int, res_scale: float):
        super().__init__()
        self.body = nn.Sequential(
            conv3x3(channels, channels), nn.ReLU(inplace=True), conv3x3(channels, channels)
        )
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        return torch.add(x, self.body(x), alpha=self.res_scale)
