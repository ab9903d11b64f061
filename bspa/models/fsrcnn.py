"""FSRCNN (Dong et al., ECCV 2016) in RGB."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bspa.models.cpu_kernels import prelu, upscale
from bspa.models.layers import Network

PRELU_SLOPE = 0.25  # initial


class FSRCNN(Network):
    """FSRCNN(d, s, m): extract d features, shrink to s, map m times, expand to d, deconvolve.

    Every convolution but the last is followed by a PReLU with one parameter; 24,518 parameters at each scale.
    Initialisation: He et al. 2015 for PReLUs; N(0, 0.001^2) for the deconvolution (Dong et al., Sec. 4.1).
    """

    def __init__(self, *, scale: int, d: int = 56, s: int = 12, m: int = 4):
        super().__init__(scale, d, d=d, s=s, m=m)
        self.head_conv = ActivatedConvolution(3, d, kernel=5)
        self.body_conv = nn.Sequential(
            ActivatedConvolution(d, s, kernel=1),
            *(ActivatedConvolution(s, s, kernel=3) for _ in range(m)),
            ActivatedConvolution(s, d, kernel=1),
        )
        self.tail_conv = Deconvolution(d, 3, kernel=9, scale=scale)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=PRELU_SLOPE)
            elif isinstance(layer, nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, std=0.001)
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def features(self, x: Tensor) -> Tensor:
        """Return the expanded features (n, d, h, w)."""
        return self.body_conv(self.head_conv(x))

    def upscale(self, features: Tensor, x: Tensor) -> Tensor:
        """Upsample the features; ``x`` is not used."""
        del x
        return self.tail_conv(features)


class ActivatedConvolution(nn.Sequential):
    """A convolution that keeps the image size, followed by a PReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int):
        super().__init__(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.PReLU(init=PRELU_SLOPE))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w)."""
        convolution, activation = self
        assert isinstance(activation, nn.PReLU)
        return prelu(convolution(x), activation.weight)


class Deconvolution(nn.ConvTranspose2d):
    """A transposed convolution to ``scale`` times the size, in float32 also under autocast.

    The kernel is centred on the s x s output pixels of an LR pixel, up to half a pixel.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int, scale: int):
        padding = (kernel + 1 - scale) // 2
        extra = scale + 2 * padding - kernel
        super().__init__(inputs, outputs, kernel, stride=scale, padding=padding, output_padding=extra)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, scale h, scale w)."""
        with torch.autocast(x.device.type, enabled=False):
            return upscale(x.to(self.weight.dtype), self)
