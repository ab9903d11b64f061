"""EDSR (Lim et al., CVPRW 2017), with the parameter names of the authors' EDSR-PyTorch."""

from __future__ import annotations

from torch import nn

from bspa.models.layers import HeadBodyTail, Residual, conv3x3


class EDSR(HeadBodyTail):
    """EDSR; the defaults give EDSR_baseline (1,369,859/1,554,499/1,517,571 parameters at x2/x3/x4).

    The large EDSR has 32 blocks, 256 channels and res_scale 0.1. Initialisation: torch's defaults.
    """

    def __init__(self, *, scale: int, blocks: int = 16, channels: int = 64, res_scale: float = 1.0):
        parts = (residual_block(channels, res_scale) for _ in range(blocks))
        super().__init__(scale, channels, parts, blocks=blocks, channels=channels, res_scale=res_scale)


def residual_block(channels: int, res_scale: float) -> Residual:
    """Return two convolutions with a skip connection, without batch normalisation."""
    first, second = conv3x3(channels, channels), conv3x3(channels, channels)
    return Residual(first, nn.ReLU(inplace=True), second, factor=res_scale)
