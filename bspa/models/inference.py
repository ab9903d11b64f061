"""A network applied to one whole image, in tiles where the image is large.

Shape legend: h and w are LR pixels of the image, s is the scale.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bspa.models.layers import place_model

log = logging.getLogger("bspa")

TILE_BUDGET = 2048 * 2048
"""Output pixels of one automatic tile, overlap included.

A network of 64 channels needs about 600 bytes for each, or 2.5 GB for a tile. The paper's benchmarks have no
larger image (DIV2K's sides are at most 2040 pixels), so tiling does not affect their scores.
"""

GLOBAL_OVERLAP = 32
"""LR pixels of overlap for networks whose output pixels depend on the whole image."""

Tile = int | Literal["auto"] | None


def super_resolve(
    model: nn.Module,
    image: NDArray[np.uint8],
    *,
    device: torch.device | str | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] | None = None,
    tile: Tile = "auto",
    overlap: int | None = None,
) -> NDArray[np.uint8]:
    """Super-resolve an image.

    The output is clipped to [0, 1] and rounded to 255 levels, halves to even, as in BasicSR and EDSR. Without
    ``autocast`` all arithmetic is float32, also on a GPU (TF32 is off).

    Args:
        model: maps float RGB (n, 3, h, w) in [0, 1] to (n, 3, s h, s w); its ``scale`` is s. It is moved to
            ``device`` and the channels-last format, and put in evaluation mode.
        image: RGB (h, w, 3) uint8.
        device: where to compute; None: where the model is.
        autocast: makes the context of reduced precision to compute in.
        tile: None for the whole image at once, a number for the largest side of a tile in LR pixels (without
            overlap), "auto" for tiles only where the output exceeds `TILE_BUDGET` pixels.
        overlap: LR pixels that a tile sees on each side beyond those it delivers; None takes
            ``model.receptive_radius``, for which tiles equal the whole image up to float32 rounding. A model
            whose radius is None (channel attention averages over the image) gets `GLOBAL_OVERLAP`, and a
            warning that tiles approximate the whole image's result.

    Returns:
        RGB (s h, s w, 3) uint8.

    Raises:
        ValueError: ``image`` is not RGB uint8, ``tile`` or ``overlap`` is not allowed, or the model's output
            has another size or is not finite.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"image: {image.dtype} of shape {image.shape}; allowed: uint8 of shape (h, w, 3)")
    scale = int(model.scale)  # type: ignore[arg-type]
    where = next(model.parameters()).device if device is None else torch.device(device)
    model = place_model(model, where).eval()
    height, width = image.shape[:2]
    tile, overlap = _plan_tiles(model, height, width, scale, tile, overlap)
    sr = np.empty((height * scale, width * scale, 3), np.uint8)
    for rows, columns in itertools.product(spans(height, tile, overlap), spans(width, tile, overlap)):
        seen = image[rows.first : rows.last, columns.first : columns.last]
        y = _forward(model, seen, scale, where, autocast or nullcontext)
        y = y[:, rows.delivered(scale), columns.delivered(scale)]
        levels = y.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0)
        sr[rows.output(scale), columns.output(scale)] = levels.cpu().numpy()
    return sr


@dataclass(frozen=True, slots=True)
class Span:
    """One side of a tile in LR pixels: it delivers [start, stop) and sees [first, last)."""

    start: int
    stop: int
    first: int
    last: int

    def output(self, scale: int) -> slice:
        """Return the delivered part's place in the whole output."""
        return slice(self.start * scale, self.stop * scale)

    def delivered(self, scale: int) -> slice:
        """Return the delivered part's place in the tile's output."""
        return slice((self.start - self.first) * scale, (self.stop - self.first) * scale)


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Cut ``length`` pixels into the fewest parts of at most ``tile``, of nearly equal size."""
    count = math.ceil(length / tile)
    edges = [index * length // count for index in range(count + 1)]
    return [
        Span(start, stop, max(0, start - overlap), min(length, stop + overlap))
        for start, stop in itertools.pairwise(edges)
    ]


def _plan_tiles(
    model: nn.Module, height: int, width: int, scale: int, tile: Tile, overlap: int | None
) -> tuple[int, int]:
    """Return tile and overlap as numbers."""
    if overlap is not None and (type(overlap) is not int or overlap < 0):
        raise ValueError(f"overlap: {overlap!r}; allowed: none, or a whole number of LR pixels from 0")
    if tile is not None and tile != "auto" and (type(tile) is not int or tile < 1):
        raise ValueError(f"tile: {tile!r}; allowed: auto, none, or a whole number of LR pixels from 1")
    whole = max(height, width)
    if tile is None or (tile == "auto" and height * width * scale**2 <= TILE_BUDGET):
        return whole, 0
    radius = getattr(model, "receptive_radius", None)
    if overlap is None:
        overlap = GLOBAL_OVERLAP if radius is None else int(radius)
    if tile == "auto":
        side = math.isqrt(TILE_BUDGET) // scale
        tile = side - 2 * overlap
        if tile < 1:
            raise ValueError(
                f"overlap: {overlap} LR pixels on each side do not fit in an automatic tile of {side}; "
                "allowed: a smaller overlap, or a tile in LR pixels"
            )
    if tile < whole and (radius is None or overlap < radius):
        _warn_once(type(model).__name__, overlap, radius)
    return tile, overlap


@functools.cache
def _warn_once(network: str, overlap: int, radius: int | None) -> None:
    reach = "the whole image" if radius is None else f"{radius} LR pixels around it"
    log.warning(
        "%s: tiles that overlap by %d LR pixels only approximate the whole image's result, since an output "
        "pixel depends on %s",
        *(network, overlap, reach),
    )


@torch.inference_mode()
def _forward(
    model: nn.Module,
    lr: NDArray[np.uint8],
    scale: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Tensor:
    """Map (h, w, 3) uint8 to (3, s h, s w) float32."""
    # Copied because the pixels may be mapped read-only; (h, w, channels) is torch's channels-last layout.
    x = torch.from_numpy(np.array(lr)).to(device).permute(2, 0, 1)[None].float() / 255
    exact = torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled, deterministic=True, allow_tf32=False
    )
    with exact, autocast():
        y = model(x)
    name = type(model).__name__
    expected = (1, 3, lr.shape[0] * scale, lr.shape[1] * scale)
    if y.shape != expected:
        raise ValueError(f"{name}: output is {tuple(y.shape)}; a network for x{scale} gives {expected}")
    if not torch.isfinite(y).all():
        raise ValueError(f"{name}: output is not finite; the weights are damaged, or training diverged")
    return y[0].float()
