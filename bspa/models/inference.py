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
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bspa.models.layers import place_model

log = logging.getLogger("bspa")

TILE_BUDGET = 2048 * 2048
"""Output pixels of one automatic tile, overlap included.

A network of 64 channels needs about 600 bytes for each, or 2.5 GB for a tile; tiles of narrower networks are
up to four times as large. The paper's benchmarks have no larger image (DIV2K's sides are at most 2040
pixels), so tiling does not affect their scores.
"""

BAND = 16
"""Rows that are rounded at a time: few enough to stay in the processor's cache."""

GLOBAL_OVERLAP = 32
"""LR pixels of overlap for networks whose output pixels depend on the whole image."""

Tile = int | Literal["auto"] | None

LEVELS = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
"""Samples of an image -> the value of white."""

Pixels = TypeVar("Pixels", np.uint8, np.uint16)


def super_resolve(
    model: nn.Module,
    image: NDArray[Pixels],
    *,
    device: torch.device | str | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    tile: Tile = "auto",
    overlap: int | None = None,
) -> NDArray[Pixels]:
    """Super-resolve an image.

    The output is clipped to [0, 1] and rounded once to the levels of the input's samples, halves to even, as
    in BasicSR and EDSR. Without ``autocast`` all arithmetic is float32, also on a GPU (TF32 is off).

    Args:
        model: maps float RGB (n, 3, h, w) in [0, 1] to (n, 3, s h, s w); its ``scale`` is s. It is moved to
            ``device`` and the channels-last format, and put in evaluation mode.
        image: RGB (h, w, 3) uint8 or uint16.
        device: where to compute; None: where the model is.
        autocast: makes the context of reduced precision to compute in.
        tile: largest side of a tile in LR pixels, without overlap; None: the whole image at once; "auto":
            tiles only where the output exceeds `TILE_BUDGET` pixels.
        overlap: LR pixels that a tile sees on each side beyond those it delivers. None: as many as an output
            pixel depends on, so that tiles equal the whole image up to float32 rounding; `GLOBAL_OVERLAP` and
            a warning where it depends on all of them.

    Returns:
        RGB (s h, s w, 3) of the samples of ``image``.

    Raises:
        ValueError: ``image`` is not RGB uint8 or uint16, ``tile`` or ``overlap`` is not allowed, or the
            model's output has another size or is not finite.
    """
    if image.dtype not in LEVELS or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        allowed = "uint8 or uint16 of shape (h, w, 3)"
        raise ValueError(f"image: {image.dtype} of shape {image.shape}; allowed: {allowed}")
    levels = LEVELS[image.dtype]
    scale = int(model.scale)  # type: ignore[arg-type]
    where = next(model.parameters()).device if device is None else torch.device(device)
    model = place_model(model, where).eval()
    height, width = image.shape[:2]
    tile, overlap = _plan_tiles(model, height, width, scale, tile, overlap)
    sr = np.empty((height * scale, width * scale, 3), image.dtype)
    for (rows, seen_rows), (columns, seen_columns) in itertools.product(
        spans(height, tile, overlap), spans(width, tile, overlap)
    ):
        with torch.inference_mode(), autocast():
            y = _forward(model, image[seen_rows, seen_columns], scale, where)
        y = y[:, _enlarged(rows, seen_rows.start, scale), _enlarged(columns, seen_columns.start, scale)]
        _round_into(sr[_enlarged(rows, 0, scale), _enlarged(columns, 0, scale)], y, levels)
    return sr


@torch.inference_mode()
def _round_into(part: NDArray[Pixels], y: Tensor, levels: int) -> None:
    """Clip ``y``, (3, h, w), to [0, 1], and round it to the levels of ``part``, (h, w, 3)."""
    on_cpu = y.device.type == "cpu"
    rows = BAND if on_cpu else y.shape[1]
    for first, band in zip(range(0, y.shape[1], rows), y.split(rows, dim=1), strict=True):
        rounded = band.clamp(0, 1).mul_(levels).round_().permute(1, 2, 0)
        if not on_cpu:
            rounded = rounded.to(torch.uint8 if levels == 255 else torch.int32).cpu()
        part[first : first + rows] = rounded.numpy()


def spans(length: int, tile: int, overlap: int) -> list[tuple[slice, slice]]:
    """Cut ``length`` pixels into the fewest parts of at most ``tile``, of nearly equal size.

    Returns what each part delivers, and what it sees.
    """
    count = math.ceil(length / tile)
    edges = [index * length // count for index in range(count + 1)]
    return [
        (slice(start, stop), slice(max(0, start - overlap), min(length, stop + overlap)))
        for start, stop in itertools.pairwise(edges)
    ]


def _enlarged(part: slice, origin: int, scale: int) -> slice:
    """Return the place of LR pixels in an output that begins at the LR pixel ``origin``."""
    return slice((part.start - origin) * scale, (part.stop - origin) * scale)


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
        side = math.isqrt(TILE_BUDGET * _thrift(model, scale)) // scale
        tile = side - 2 * overlap
        if tile < 1:
            raise ValueError(
                f"overlap: {overlap} LR pixels on each side do not fit in an automatic tile of {side}; "
                "allowed: a smaller overlap, or a tile in LR pixels"
            )
    if tile < whole and (radius is None or overlap < radius):
        _warn_once(type(model).__name__, overlap, radius)
    return tile, overlap


def _thrift(model: nn.Module, scale: int) -> int:
    """Return how many times as large the tiles of a narrow network may be: 1 to 4.

    The measure is the widest layer, in values for an output pixel, where 64 channels after the last pixel
    shuffle count as 1.
    """
    enlarged, widest = 1, 1
    for layer in model.modules():
        if isinstance(layer, nn.PixelShuffle):
            enlarged *= layer.upscale_factor
        elif isinstance(layer, nn.ConvTranspose2d):
            enlarged *= layer.stride[0]
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            widest = max(widest, layer.out_channels * enlarged**2)
    if enlarged != scale:  # it is enlarged otherwise, too, so the size of its layers cannot be told
        return 1
    return max(1, min(4, 64 * scale**2 // widest))


@functools.cache
def _warn_once(network: str, overlap: int, radius: int | None) -> None:
    reach = "the whole image" if radius is None else f"{radius} LR pixels around it"
    log.warning(
        "%s: tiles that overlap by %d LR pixels only approximate the whole image's result, since an output "
        "pixel depends on %s",
        *(network, overlap, reach),
    )


def _forward(
    model: nn.Module, lr: NDArray[np.uint8] | NDArray[np.uint16], scale: int, device: torch.device
) -> Tensor:
    """Map (h, w, 3) to (3, s h, s w) float32."""
    # Copied because the pixels may be mapped read-only, and torch has few uint16 operations. (h, w, channels)
    # is torch's channels-last layout.
    pixels = np.array(lr) if lr.dtype == np.uint8 else lr.astype(np.float32)
    x = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None].float() / LEVELS[lr.dtype]
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False):
        y = model(x)
    name = type(model).__name__
    expected = (1, 3, lr.shape[0] * scale, lr.shape[1] * scale)
    if y.shape != expected:
        raise ValueError(f"{name}: output is {tuple(y.shape)}; a network for x{scale} gives {expected}")
    # The sum takes a fraction of the time; it is also infinite if finite values are too large to be added.
    if not torch.isfinite(y.sum()) and not torch.isfinite(y).all():
        raise ValueError(f"{name}: output is not finite; the weights are damaged, or training diverged")
    return y[0].float()
