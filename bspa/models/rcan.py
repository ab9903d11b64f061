"""RCAN (Zhang et al., ECCV 2018), with the parameter names of the authors' release."""

from __future__ import annotations

from torch import Tensor, nn

from bspa.models.layers import HeadBodyTail, Residual, conv3x3


class RCAN(HeadBodyTail):
    """RCAN; the defaults are the paper's (15,444,643/15,629,283/15,592,355 trainable parameters at x2/x3/x4).

    Channel attention averages over the whole image, so every output pixel depends on every input pixel.
    Initialisation: torch's defaults.
    """

    def __init__(
        self, *, scale: int, groups: int = 10, blocks: int = 20, channels: int = 64, reduction: int = 16
    ):
        if channels % reduction:
            raise ValueError(f"RCAN: reduction is {reduction}; allowed: a divisor of channels, {channels}")
        options = {"groups": groups, "blocks": blocks, "channels": channels, "reduction": reduction}
        parts = (residual_group(blocks, channels, reduction) for _ in range(groups))
        super().__init__(scale, channels, parts, **options)


def residual_group(blocks: int, channels: int, reduction: int) -> Residual:
    """Return attention blocks (RCAB) and a convolution, with a skip connection."""
    attention_blocks = (
        Residual(
            conv3x3(channels, channels),
            nn.ReLU(inplace=True),
            conv3x3(channels, channels),
            ChannelAttention(channels, reduction),
        )
        for _ in range(blocks)
    )
    return Residual(*attention_blocks, conv3x3(channels, channels))


class ChannelAttention(nn.Module):
    """Scale each channel by a gate in (0, 1), computed from the means of all channels over the image."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // reduction, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        return x * self.conv_du(self.avg_pool(x))
