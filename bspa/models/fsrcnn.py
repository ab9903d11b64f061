"""FSRCNN (Dong et al., ECCV 2016) in RGB, with faster kernels on CPUs: torch's results up to rounding.

Shape legend: n samples, c and o channels, h and w LR pixels, k side of a kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

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
        """Map (n, c, h, w) to (n, o, h, w)."""
        convolution, activation = self
        assert isinstance(activation, nn.PReLU)
        y, slope = convolution(x), activation.weight
        if y.device.type == "cpu":
            return LeakyByParameter.apply(y, slope)  # type: ignore[no-untyped-call]
        return functional.prelu(y, slope.to(y.dtype))


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
            x = x.to(self.weight.dtype)
            if x.device.type != "cpu":
                return super().forward(x)
            arguments = (x, self.weight, self.bias, self.stride[0], int(self.padding[0]))
            return SubPixelUpscale.apply(*arguments)  # type: ignore[no-untyped-call]


class LeakyByParameter(torch.autograd.Function):
    """PReLU as a leaky ReLU with a trained slope, (1,); torch's takes four times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        """Multiply the negative elements of ``x`` by ``slope``."""
        ctx.save_for_backward(x, slope)
        return functional.leaky_relu(x, float(slope))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients by ``x`` and the slope."""
        (y,) = gradients
        x, slope = ctx.saved_tensors
        of_x = torch.ops.aten.leaky_relu_backward(y, x, float(slope), False)
        return of_x, (y * x.clamp_max(0)).sum(dtype=slope.dtype).reshape(1)


class SubPixelUpscale(torch.autograd.Function):
    """Transposed convolution as a convolution and a pixel shuffle (Shi et al. 2016).

    The forward pass takes a third of the time of torch's on a CPU; the backward pass is torch's.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
        """Map (n, c, h, w) to (n, o, stride h, stride w)."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        kernel = sub_pixel_kernel(weight, stride, padding)
        y = functional.conv2d(x, kernel, bias.repeat_interleave(stride**2), padding=kernel.shape[-1] // 2)
        return functional.pixel_shuffle(y, stride)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by x, weight and bias."""
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        output_padding = stride + 2 * padding - weight.shape[-1]
        parts: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
            gradients[0], x, weight, [weight.shape[1]], [stride] * 2, [padding] * 2, [1, 1],
            True, [output_padding] * 2, 1, list(ctx.needs_input_grad[:3]),
        )  # fmt: skip
        return *parts, None, None


def sub_pixel_kernel(weight: Tensor, stride: int, padding: int) -> Tensor:
    """Turn a transposed convolution's weight (c, o, k, k) into a convolution's: (o * stride^2, c, q, q).

    Weight element t connects LR pixel i with output pixel ``stride * i - padding + t``. Hence output pixel
    ``stride * j + r`` sees LR pixel ``j - d`` through element ``t = r + padding + stride * d``.
    """
    inputs, outputs, size, _ = weight.shape
    # The largest |d|; the weight is padded with zeros to reach as far on both sides.
    reach = max((stride - 1 + padding) // stride, (size - 1 - padding) // stride)
    span = 2 * reach + 1
    before = stride * reach - padding
    after = span * stride - before - size
    padded = functional.pad(weight, (before, after, before, after))
    blocks = padded.view(inputs, outputs, span, stride, span, stride).flip(2, 4).permute(1, 3, 5, 0, 2, 4)
    kernel = blocks.reshape(outputs * stride**2, inputs, span, span)
    return kernel.contiguous(memory_format=torch.channels_last)
