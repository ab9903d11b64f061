"""MSRResNet (Wang et al., ECCVW 2018): SRResNet without batch normalisation, with BasicSR's names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bspa.models.layers import SHUFFLES, ExactConv2d, Network, conv3x3


class MSRResNet(Network):
    """MSRResNet; it predicts the residual to bilinear upsampling. 1,517,571 parameters at x4 by default.

    Initialisation: He et al. 2015 times 0.1, biases 0.
    """

    def __init__(self, *, scale: int, blocks: int = 16, channels: int = 64):
        super().__init__(scale, channels, blocks=blocks, channels=channels)
        self.conv_first = conv3x3(3, channels)
        self.body = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        step = SHUFFLES[scale][0]
        self.upconv1 = conv3x3(channels, channels * step**2)
        self.shuffle1 = nn.PixelShuffle(step)
        if scale >= 4:
            self.upconv2 = conv3x3(channels, channels * step**2)
            self.shuffle2 = nn.PixelShuffle(step)
        if scale == 8:
            self.upconv3 = conv3x3(channels, channels * step**2)
            self.shuffle3 = nn.PixelShuffle(step)
        self.conv_hr = conv3x3(channels, channels)
        self.conv_last = ExactConv2d(channels, 3, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.1, inplace=True)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight)
                with torch.no_grad():
                    layer.weight.mul_(0.1)
                nn.init.zeros_(layer.bias)

    def features(self, x: Tensor) -> Tensor:
        """Return the last block's output: (n, channels, h, w)."""
        return self.body(self.lrelu(self.conv_first(x)))

    def upscale(self, features: Tensor, x: Tensor) -> Tensor:
        """Upsample the features and add the bilinearly upsampled ``x``."""
        y = self.lrelu(self.shuffle1(self.upconv1(features)))
        if self.scale >= 4:
            y = self.lrelu(self.shuffle2(self.upconv2(y)))
        if self.scale == 8:
            y = self.lrelu(self.shuffle3(self.upconv3(y)))
        y = self.conv_last(self.lrelu(self.conv_hr(y)))
        return y + functional.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.conv2 = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        return x + self.conv2(self.conv1(x).relu_())
