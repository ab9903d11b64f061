"""What the networks share: their interface, receptive field, and layers that stay in float32.

Shape legend: n samples, c channels, h and w LR pixels, s scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

SCALES = (2, 3, 4, 8)
SHUFFLES = {2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}  # factors of the pixel shuffles for a scale
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)

Module = TypeVar("Module", bound=nn.Module)


def place_model(model: Module, device: torch.device | None = None) -> Module:
    """Lay out a model for fast convolutions, channels last; move it to a device if one is given."""
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


class Network(nn.Module):
    """A super-resolution network: float RGB (n, 3, h, w) in [0, 1] -> (n, 3, s*h, s*w), not clipped.

    h and w may be as small as 1. The output is float32 also under autocast: the last convolution is computed
    in the precision of its weights. Modules are registered in the order of the forward pass.
    """

    def __init__(self, scale: int, feature_channels: int, **options: float | str):
        super().__init__()
        self.scale = scale
        self.feature_channels = feature_channels
        self.options = options

    def features(self, x: Tensor) -> Tensor:
        """Return the body's output for ``x``, before upsampling: (n, feature_channels, h, w)."""
        raise NotImplementedError

    def upscale(self, features: Tensor, x: Tensor) -> Tensor:
        """Turn the features of ``x`` into the super-resolved image (n, 3, s*h, s*w)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Super-resolve (n, 3, h, w)."""
        return self.upscale(self.features(x), x)

    @property
    def receptive_radius(self) -> int | None:
        """How many LR pixels on each side of an LR pixel its s x s output pixels depend on; None: all.

        Counted from the output back through every layer; skip connections do not extend it.
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


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the image size, initialised as torch does."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class ExactConv2d(nn.Conv2d):
    """A convolution in the precision of its weights (float32) also under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """Cast ``x`` up and convolve."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class Residual(nn.Module):
    """Layers with a skip connection: x + factor * body(x)."""

    def __init__(self, *layers: nn.Module, factor: float = 1.0):
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        return torch.add(x, self.body(x), alpha=self.factor)


class MeanShift(ExactConv2d):
    """Adds ``sign`` times DIV2K's mean colour to an image in [0, 255]; not trained, but in the state dict."""

    def __init__(self, sign: int):
        super().__init__(3, 3, 1)
        self.requires_grad_(False)
        self.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        assert self.bias is not None
        self.bias.copy_(sign * 255 * torch.tensor(DIV2K_MEAN))


class HeadBodyTail(Network):
    """The structure of EDSR and RCAN: head, body with a skip connection, upsampling tail; range [0, 255].

    The order in which layers are made decides their initial weights, so the body takes its parts one by one.
    """

    def __init__(self, scale: int, feature_channels: int, parts: Iterator[nn.Module], **options: float | str):
        super().__init__(scale, feature_channels, **options)
        c = feature_channels
        self.sub_mean = MeanShift(-1)
        self.head = nn.Sequential(conv3x3(3, c))
        self.body = nn.Sequential(*parts, conv3x3(c, c))
        upsample: list[nn.Module] = []
        for step in SHUFFLES[scale]:
            upsample += [conv3x3(c, c * step**2), nn.PixelShuffle(step)]
        self.tail = nn.Sequential(nn.Sequential(*upsample), ExactConv2d(c, 3, 3, padding=1))
        self.add_mean = MeanShift(1)

    def features(self, x: Tensor) -> Tensor:
        """Return the body's output plus the head's: (n, c, h, w)."""
        x = self.head(self.sub_mean(255 * x))
        return x + self.body(x)

    def upscale(self, features: Tensor, x: Tensor) -> Tensor:
        """Upsample the features and add the mean colour; ``x`` is not used."""
        del x
        return self.add_mean(self.tail(features)) / 255
