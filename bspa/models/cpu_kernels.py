"""FSRCNN's PReLU and deconvolution, faster on CPUs: torch's results up to rounding; elsewhere torch's own.

Shape legend: n samples, c and o channels, h and w LR pixels, k side of a kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Multiply the negative elements of ``x`` (any shape) by ``slope``, (1,)."""
    if x.device.type == "cpu":
        return LeakyByParameter.apply(x, slope)  # type: ignore[no-untyped-call]
    return functional.prelu(x, slope.to(x.dtype))


def upscale(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Apply a transposed convolution: (n, c, h, w) to (n, o, stride h, stride w)."""
    if x.device.type != "cpu":
        return nn.ConvTranspose2d.forward(layer, x)
    arguments = (x, layer.weight, layer.bias, layer.stride[0], int(layer.padding[0]))
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
