"""Networks in files of ours and of other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bspa.models.spandrel import import_spandrel
from bspa.models.weights import load_model


class ForeignNetwork(nn.Module):
    """A network that spandrel read: float RGB (n, 3, h, w) in [0, 1] to (n, 3, s h, s w)."""

    receptive_radius = None
    """LR pixels that an output pixel depends on; not known."""

    def __init__(self, descriptor: Any):
        super().__init__()
        self.scale = int(descriptor.scale)
        self.model, self._call = descriptor.model, descriptor

    def forward(self, x: Tensor) -> Tensor:
        """Upscale; spandrel pads what the architecture needs."""
        output: Tensor = self._call(x)
        return output


def load_upscaler(path: str | os.PathLike[str]) -> nn.Module:
    """Load a network that upscales RGB: a file of ours, or any that spandrel reads (the extra ``spandrel``).

    Returns:
        The network on the CPU, in evaluation mode, with its ``scale``.

    Raises:
        FileNotFoundError: there is no file at ``path``.
        ValueError: neither we nor spandrel can read it, or it is no network from RGB to larger RGB.
    """
    path = Path(path)
    try:
        return load_model(path)
    except ValueError as error:
        try:
            spandrel = import_spandrel()
        except ValueError as missing:
            raise ValueError(
                f"{error}. To read files of other programs, spandrel is needed: {missing}"
            ) from error
    try:
        descriptor = spandrel.ModelLoader().load_from_file(path)
    except Exception as error:  # spandrel lets through what torch and the architectures raise
        raise ValueError(f"{path}: spandrel cannot read it: {error}") from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.input_channels != 3:
        raise ValueError(f"{path}: {descriptor.architecture.name} is no network from RGB to RGB")
    return ForeignNetwork(descriptor).eval()
