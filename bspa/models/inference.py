"""A network applied to one whole image, in tiles where the image is too large for the memory.

Shape legend: h and w are LR pixels of the image, s is the scale.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

log = logging.getLogger("bspa")

TILE_BUDGET = 2048 * 2048
"""Output pixels of one automatic tile, overlap included.

A network of 64 channels keeps about 600 bytes for each, so a tile takes some 2.5 GB. No image of the
paper's benchmarks is larger (DIV2K's sides end at 2040 pixels), so their scores never depend on tiles.
"""

GLOBAL_OVERLAP = 32
"""LR pixels of overlap where every output pixel depends on the whole image and no overlap is enough."""

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
    """Super-resolve an image: RGB (h, w, 3) uint8 to (s h, s w, 3) uint8.

    The output is clipped to [0, 1] and rounded to the nearest of 255 levels, halves to the even one, as
    BasicSR and EDSR do. Without ``autocast`` all arithmetic is float32, on a GPU too: TF32 is off.

    Args:
        model: float RGB (n, 3, h, w) in [0, 1] to (n, 3, s h, s w), with s as its ``scale``. It is moved to
            ``device``, its weights to the channels-last format, and set to evaluation mode.
        image: the image.
        device: where to compute; None: where the model is.
        autocast: makes the context of reduced precision to compute in.
        tile: None: the whole image at once; a number: largest side of a tile in LR pixels, without overlap;
            "auto": tiles for images of more than `TILE_BUDGET` output pixels.
        overlap: LR pixels that a tile sees beyond those it delivers; None: ``model.receptive_radius``, with
            which tiles give what the whole image gives, except for the last bits of float32. Where the radius
            is None (channel attention averages over the whole image), tiles only approximate it, and the log
            says so; the overlap then is `GLOBAL_OVERLAP`.

    Raises:
        ValueError: ``image`` is not RGB uint8; tile or overlap is not allowed; the network gives another
            size, or values that are not finite.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"image: {image.dtype} of shape {image.shape}; allowed: (h, w, 3) of uint8")
    scale = int(model.scale)  # type: ignore[arg-type]
    sr = np.empty((image.shape[0] * scale, image.shape[1] * scale, 3), np.uint8)
    for rows, columns, values in upscaled_tiles(
        model, image, device=device, autocast=autocast, tile=tile, overlap=overlap
    ):
        levels = values.clamp(0, 1).mul(255).round().to(torch.uint8)
        sr[rows, columns] = levels.permute(1, 2, 0).cpu().numpy()
    return sr


def upscaled_tiles(
    model: nn.Module,
    image: NDArray[np.uint8],
    *,
    device: torch.device | str | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] | None = None,
    tile: Tile = None,
    overlap: int | None = None,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield each tile before it is clipped and rounded: its rows and columns of SR, and (3, ., .) float32."""
    scale = int(model.scale)  # type: ignore[arg-type]
    where = next(model.parameters()).device if device is None else torch.device(device)
    model = model.to(where, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    height, width = image.shape[:2]
    tile, overlap = _plan(model, height, width, scale, tile, overlap)
    for rows, columns in itertools.product(spans(height, tile, overlap), spans(width, tile, overlap)):
        seen = image[rows.first : rows.last, columns.first : columns.last]
        values = _forward(model, seen, scale, where, autocast or nullcontext)
        yield (
            slice(rows.start * scale, rows.stop * scale),
            slice(columns.start * scale, columns.stop * scale),
            values[:, rows.inner(scale), columns.inner(scale)],
        )


@dataclass(frozen=True, slots=True)
class Span:
    """What a tile delivers along one side, [start, stop), and what it sees for that, [first, last)."""

    start: int
    stop: int
    first: int
    last: int

    def inner(self, scale: int) -> slice:
        """Return where the delivered part lies in the output for the seen part."""
        return slice((self.start - self.first) * scale, (self.stop - self.first) * scale)


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Cut ``length`` pixels into the fewest parts of at most ``tile``, as equal as can be."""
    count = math.ceil(length / tile)
    edges = [index * length // count for index in range(count + 1)]
    return [
        Span(start, stop, max(0, start - overlap), min(length, stop + overlap))
        for start, stop in itertools.pairwise(edges)
    ]


def _plan(
    model: nn.Module, height: int, width: int, scale: int, tile: Tile, overlap: int | None
) -> tuple[int, int]:
    """Tile and overlap as numbers."""
    if overlap is not None and (type(overlap) is not int or overlap < 0):
        raise ValueError(f"overlap: {overlap!r}; a whole number of LR pixels from 0 is needed, or none")
    if tile is not None and tile != "auto" and (type(tile) is not int or tile < 1):
        raise ValueError(
            f"tile: {tile!r}; allowed are auto, none (the whole image) and a whole number of LR pixels from 1"
        )
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
                f"tile: auto gives tiles of {side} LR pixels a side, less than two overlaps of {overlap}; "
                "give a tile in LR pixels, or a smaller overlap"
            )
    if tile < whole and (radius is None or overlap < radius):
        reach = "the whole image" if radius is None else f"{radius} LR pixels around it"
        _warn_once(
            f"{type(model).__name__}: tiles that overlap by {overlap} LR pixels only approximate "
            f"the whole image's result, since an output pixel depends on {reach}"
        )
    return tile, overlap


@functools.cache
def _warn_once(message: str) -> None:
    log.warning(message)


@torch.inference_mode()
def _forward(
    model: nn.Module,
    lr: NDArray[np.uint8],
    scale: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Tensor:
    """Output (3, s h, s w) float32 for (h, w, 3) uint8."""
    # A copy, since the pixels may be mapped read-only. Pixels by channels are torch's channels-last layout.
    x = torch.from_numpy(np.array(lr)).to(device).permute(2, 0, 1)[None].float() / 255
    exact = torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled, deterministic=True, allow_tf32=False
    )
    with exact, autocast():
        y = model(x)
    name = type(model).__name__
    size = (1, 3, lr.shape[0] * scale, lr.shape[1] * scale)
    if y.shape != size:
        raise ValueError(
            f"{name} gives {tuple(y.shape)} for an image of {lr.shape[0]}x{lr.shape[1]}, not {size}; "
            f"is it a network for x{scale}?"
        )
    if not torch.isfinite(y).all():
        raise ValueError(
            f"{name} gives values that are not finite; its weights are damaged, or its training diverged"
        )
    return y[0].float()
