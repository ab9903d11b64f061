"""PReLU and transposed convolution, faster than torch's own on a CPU; elsewhere they are torch's own.

Both differ from torch's by rounding only.
Shape legend: n samples, c and o channels, h and w LR pixels, k side of a kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Multiply negative ``x`` by ``slope``, (1,), the same for the whole layer."""
    if x.device.type != "cpu":
        return functional.prelu(x, slope.to(x.dtype))
    return _LeakyByParameter.apply(x, slope)  # type: ignore[no-untyped-call]


def upscale(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Apply a transposed convolution: (n, c, h, w) to (n, o, stride h, stride w)."""
    if x.device.type != "cpu":
        return nn.ConvTranspose2d.forward(layer, x)
    assert layer.bias is not None
    arguments = (x, layer.weight, layer.bias, layer.stride[0], int(layer.padding[0]))
    return _SubPixelUpscale.apply(*arguments)  # type: ignore[no-untyped-call]


class _LeakyByParameter(torch.autograd.Function):
    """A leaky ReLU whose slope is trained. Torch's PReLU takes four times as long: it goes by elements."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return functional.leaky_relu(x, float(slope))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (y,) = gradients
        x, slope = ctx.saved_tensors
        of_x = torch.ops.aten.leaky_relu_backward(y, x, float(slope), False)
        return of_x, (y * x.clamp_max(0)).sum(dtype=slope.dtype).reshape(1)


class _SubPixelUpscale(torch.autograd.Function):
    """A transposed convolution as a convolution and a pixel shuffle (Shi et al. 2016).

    Torch has no fast forward kernel on a CPU: this takes a third of the time. The backward pass is torch's.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        kernel = sub_pixel_kernel(weight, stride, padding)
        y = functional.conv2d(x, kernel, bias.repeat_interleave(stride**2), padding=kernel.shape[-1] // 2)
        return functional.pixel_shuffle(y, stride)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        output_padding = stride + 2 * padding - weight.shape[-1]
        parts: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
            gradients[0], x, weight, [weight.shape[1]], [stride] * 2, [padding] * 2, [1, 1],
            True, [output_padding] * 2, 1, list(ctx.needs_input_grad[:3]),
        )  # fmt: skip
        return *parts, None, None


def sub_pixel_kernel(weight: Tensor, stride: int, padding: int) -> Tensor:
    """Rearrange a transposed convolution's weight (c, o, k, k) for the LR grid: (o * stride^2, c, q, q).

    LR pixel i reaches output pixel ``stride * i - padding + t`` through the weight's element t. So the output
    pixels ``stride * j + r`` see the LR pixel ``j - d`` through ``t = r + padding + stride * d``.
    """
    inputs, outputs, size, _ = weight.shape
    # The farthest d on either side; elements outside the weight are zeros.
    reach = max((stride - 1 + padding) // stride, (size - 1 - padding) // stride)
    before = stride * reach - padding
    after = (2 * reach + 1) * stride - before - size
    padded = torch.nn.functional.pad(weight, (before, after, before, after))
    span = 2 * reach + 1
    return (
        padded.view(inputs, outputs, span, stride, span, stride)
        .flip(2, 4)
        .permute(1, 3, 5, 0, 2, 4)
        .reshape(outputs * stride**2, inputs, span, span)
        .contiguous(memory_format=torch.channels_last)
    )
