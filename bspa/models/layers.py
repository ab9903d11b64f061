"""What the networks share: the frame of a network, its receptive field, and layers that stay in float32.

Shape legend: n samples, c channels, h and w LR pixels, s scale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

SCALES = (2, 3, 4)
SHUFFLES = {2: [2], 3: [3], 4: [2, 2]}  # pixel shuffles that make a scale
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


class Network(nn.Module):
    """A super-resolution network: float RGB (n, 3, h, w) in [0, 1] -> (n, 3, s*h, s*w), not clipped.

    Any h and w from 1 on. The output is float32 under autocast too, since the last convolution is computed
    in the precision of its weights. Modules are registered in the order of the forward pass.
    """

    def __init__(self, scale: int, sizes: dict[str, int], *, feature_channels: int):
        """Check and keep the options.

        Args:
            scale: 2, 3 or 4.
            sizes: the architecture's options that count something.
            feature_channels: channels of `features`.

        Raises:
            ValueError: the scale is not supported, or a size is not a positive whole number.
        """
        super().__init__()
        if not isinstance(scale, int) or scale not in SCALES:
            raise ValueError(f"{type(self).__name__}: scale is {scale!r}; allowed are 2, 3 and 4")
        for name, value in sizes.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(
                    f"{type(self).__name__}: {name} is {value!r}; it must be a whole number from 1 on"
                )
        self.scale = scale
        self.options: dict[str, int | float] = dict(sizes)
        self.feature_channels = feature_channels

    def features(self, x: Tensor) -> Tensor:
        """Return what the body makes of ``x``, before upsampling: (n, feature_channels, h, w)."""
        raise NotImplementedError

    def upscale(self, features: Tensor, x: Tensor) -> Tensor:
        """Turn the features of ``x`` into its super-resolved image (n, 3, s*h, s*w)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Super-resolve (n, 3, h, w)."""
        return self.upscale(self.features(x), x)

    @property
    def receptive_radius(self) -> int | None:
        """LR pixels on each side of a pixel that its s x s output pixels depend on; None: the whole image.

        Counted back from the output through every layer; skip connections never reach further.
        """
        layers = list(self.modules())
        if any(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in layers):
            return None
        first, last = 0, self.scale - 1
        for layer in reversed(layers):
            if isinstance(layer, nn.ConvTranspose2d):
                kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
                first, last = -((kernel - 1 - padding - first) // stride), (last + padding) // stride
            elif isinstance(layer, nn.Conv2d):
                reach = layer.kernel_size[0] // 2
                first, last = first - reach, last + reach
            elif isinstance(layer, nn.PixelShuffle):
                first, last = first // layer.upscale_factor, last // layer.upscale_factor
        return max(-first, last)

    def extra_repr(self) -> str:
        """Scale and options."""
        return ", ".join(f"{name}={value}" for name, value in {"scale": self.scale, **self.options}.items())


class ExactConv2d(nn.Conv2d):
    """A convolution in the precision of its weights (float32), also under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """Cast ``x`` up and convolve."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class ExactUpscale2d(nn.ConvTranspose2d):
    """A transposed convolution to ``scale`` times the size, in the precision of its weights (float32) always.

    The kernel is centred on the s x s output pixels of an LR pixel as well as the scale lets it.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int, scale: int):
        padding = (kernel + 1 - scale) // 2
        super().__init__(
            inputs,
            outputs,
            kernel,
            stride=scale,
            padding=padding,
            output_padding=scale + 2 * padding - kernel,
        )

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Cast ``x`` up and convolve."""
        x = x.to(self.weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            if x.device.type != "cpu" or output_size is not None:
                return super().forward(x, output_size)
            assert self.bias is not None
            arguments = (x, self.weight, self.bias, self.stride[0], int(self.padding[0]))
            return SubPixelUpscale.apply(*arguments)  # type: ignore[no-untyped-call]


class SubPixelUpscale(torch.autograd.Function):
    """A transposed convolution computed as a convolution and a pixel shuffle (Shi et al. 2016).

    Torch has no fast kernel for the forward pass on a CPU: this one takes a third of its time and differs by
    rounding only. The backward pass is torch's own.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
        """Map (n, c, h, w) to (n, o, stride * h, stride * w); weight (c, o, k, k), bias (o,)."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        kernel = sub_pixel_kernel(weight, stride, padding)
        y = torch.nn.functional.conv2d(
            x, kernel, bias.repeat_interleave(stride**2), padding=kernel.shape[-1] // 2
        )
        return torch.nn.functional.pixel_shuffle(y, stride)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients of x, weight and bias."""
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


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Multiply what is negative by ``slope``, (1,), of the whole layer; ``x`` is of any shape."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.nn.functional.prelu(x, slope.to(x.dtype))
    return LeakyByParameter.apply(x, slope)  # type: ignore[no-untyped-call]


class LeakyByParameter(torch.autograd.Function):
    """A leaky ReLU whose slope is trained.

    Torch's own PReLU goes element by element on a CPU, forward and backward; this takes a quarter of the time
    and differs by rounding only.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        """Multiply negative ``x`` by ``slope``, (1,)."""
        ctx.save_for_backward(x, slope)
        return torch.nn.functional.leaky_relu(x, float(slope))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Give the gradients of x and slope."""
        (y,) = gradients
        x, slope = ctx.saved_tensors
        of_x = torch.ops.aten.leaky_relu_backward(y, x, float(slope), False)
        return of_x, (y * x.clamp_max(0)).sum(dtype=slope.dtype).reshape(1)


class MeanShift(ExactConv2d):
    """Adds ``sign`` times DIV2K's mean colour to an image in [0, 255]; fixed, but part of the state dict."""

    def __init__(self, sign: int):
        super().__init__(3, 3, 1)
        self.requires_grad_(False)
        self.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        assert self.bias is not None
        self.bias.copy_(sign * 255 * torch.tensor(DIV2K_MEAN))


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the image size, initialised as torch does."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def upsampler(scale: int, channels: int) -> nn.Sequential:
    """Return convolutions and pixel shuffles (Shi et al. 2016): one x2, one x3, or two x2 for x4."""
    layers: list[nn.Module] = []
    for step in SHUFFLES[scale]:
        layers += [conv3x3(channels, channels * step**2), nn.PixelShuffle(step)]
    return nn.Sequential(*layers)


class HeadBodyTail(Network):
    """The frame of EDSR and RCAN: head, body inside a long skip, upsampling tail, in colours of [0, 255]."""

    def __init__(
        self, scale: int, sizes: dict[str, int], *, channels: int, parts: int, part: Callable[[], nn.Module]
    ):
        """Build the body as ``parts`` times ``part()``, closed by a convolution."""
        super().__init__(scale, sizes, feature_channels=channels)
        self.sub_mean = MeanShift(-1)
        self.head = nn.Sequential(conv3x3(3, channels))
        self.body = nn.Sequential(*(part() for _ in range(parts)), conv3x3(channels, channels))
        self.tail = nn.Sequential(upsampler(scale, channels), ExactConv2d(channels, 3, 3, padding=1))
        self.add_mean = MeanShift(1)

    def features(self, x: Tensor) -> Tensor:
        """Return the body's output plus the head's: (n, channels, h, w)."""
        x = self.head(self.sub_mean(255 * x))
        return x + self.body(x)

    def upscale(self, features: Tensor, x: Tensor) -> Tensor:
        """Upsample the features and add the mean colour; ``x`` itself is not needed."""
        del x
        return self.add_mean(self.tail(features)) / 255
