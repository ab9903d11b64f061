"""FSRCNN (Dong et al., ECCV 2016) in RGB. Shape legend: n samples, c and o channels, h and w LR pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bspa.models.cpu_kernels import prelu, upscale
from bspa.models.layers import Network

PRELU_SLOPE = 0.25  # initial


class FSRCNN(Network):
    """FSRCNN(d, s, m): extract d features, shrink to s, map m times, expand to d, deconvolve.

    Every convolution but the last is followed by a PReLU with one parameter; 24,518 parameters at each scale.

    Args:
        scale: 2, 3, 4 or 8.
        d, s, m: as above.
        value_range: largest value of the colours inside the network, 1 or 255.
        initial: initial weights; ``he``: He et al. 2015 for PReLUs, and N(0, 0.001^2) for the deconvolution
            (Dong et al., Sec. 4.1); ``torch``: PyTorch's defaults; ``kaiming_small``: He et al. 2015 times
            0.1 for every layer, as in BasicSR and ClassSR.
    """

    def __init__(
        self, *, scale: int, d: int = 56, s: int = 12, m: int = 4, value_range: int = 1, initial: str = "he"
    ):
        super().__init__(scale, d, d=d, s=s, m=m, value_range=value_range, initial=initial)
        if value_range not in (1, 255) or initial not in ("he", "torch", "kaiming_small"):
            raise ValueError(
                f"fsrcnn: value_range {value_range!r}, initial {initial!r}; "
                "allowed: 1, 255; he, torch, kaiming_small"
            )
        self.value_range = value_range
        self.head_conv = ActivatedConvolution(3, d, kernel=5)
        self.body_conv = nn.Sequential(
            ActivatedConvolution(d, s, kernel=1),
            *(ActivatedConvolution(s, s, kernel=3) for _ in range(m)),
            ActivatedConvolution(s, d, kernel=1),
        )
        self.tail_conv = Deconvolution(d, 3, kernel=9, scale=scale)
        if initial != "torch":
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    self._initialise(layer, initial)

    @staticmethod
    @torch.no_grad()
    def _initialise(layer: nn.Conv2d | nn.ConvTranspose2d, initial: str) -> None:
        if initial == "kaiming_small":
            nn.init.kaiming_normal_(layer.weight).mul_(0.1)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=PRELU_SLOPE)
        else:
            nn.init.normal_(layer.weight, std=0.001)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

    def features(self, x: Tensor) -> Tensor:
        """Return the expanded features (n, d, h, w)."""
        return self.body_conv(self.head_conv(x * self.value_range if self.value_range != 1 else x))

    def upscale(self, features: Tensor, x: Tensor) -> Tensor:
        """Upsample the features; ``x`` is not used."""
        del x
        output = self.tail_conv(features)
        return output / self.value_range if self.value_range != 1 else output


class ActivatedConvolution(nn.Sequential):
    """A convolution that keeps the image size, followed by a PReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int):
        super().__init__(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.PReLU(init=PRELU_SLOPE))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, o, h, w)."""
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
        """Map (n, c, h, w) to (n, o, scale h, scale w)."""
        with torch.autocast(x.device.type, enabled=False):
            return upscale(x.to(self.weight.dtype), self)
