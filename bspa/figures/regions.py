"""Square windows of images, given or chosen, and what a network makes of them.

Shape legend: H and W pixels of an HR image, N candidates.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bspa.data.packed import PackedImages
from bspa.models.inference import Tile, super_resolve
from bspa.models.weights import load_model

Pixels = NDArray[np.uint8]
Upscale = Callable[[Pixels], Pixels]

IDS_SHOWN = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A window of one of several files of packed images; lengths in HR pixels."""

    file: int
    """Which file, from 0."""
    image: int
    """Which of its images, from 0."""
    top: int
    left: int
    size: int

    def cut(self, image: Pixels) -> Pixels:
        """Return the window's pixels (size, size, 3) of the whole image (H, W, 3)."""
        return image[self.top : self.top + self.size, self.left : self.left + self.size]


def locate(images: PackedImages, wanted: Mapping[str, Any], *, size: int, key: str, file: int = 0) -> Region:
    """Find a region that the config names by the image's id.

    Args:
        images: where to look.
        wanted: ``image`` (id), ``top`` and ``left`` (HR pixels).
        size: side of the window.
        key: of the config, for messages.
        file: the region's ``file``.

    Raises:
        ValueError: there is no such image, or the window leaves it.
    """
    name, top, left = str(wanted["image"]), int(wanted["top"]), int(wanted["left"])
    if name not in images.ids:
        some = ", ".join(images.ids[:IDS_SHOWN]) + (", ..." if len(images) > IDS_SHOWN else "")
        raise ValueError(f"{key}: there is no image {name!r}; the {len(images)} images are {some}")
    image = images.ids.index(name)
    height, width = images.hr_shapes[image].tolist()
    if not (0 <= top <= height - size and 0 <= left <= width - size):
        room = (
            f"top may be 0 to {height - size}, left 0 to {width - size}"
            if size <= min(height, width)
            else "the image is too small for it"
        )
        raise ValueError(
            f"{key}: a window of {size}x{size} pixels at top {top}, left {left} is not inside image {name} "
            f"({width}x{height}); {room}"
        )
    return Region(file=file, image=image, top=top, left=left, size=size)


def choose(
    values: NDArray[np.floating],
    image: NDArray[np.integer],
    top: NDArray[np.integer],
    left: NDArray[np.integer],
    *,
    size: int,
    count: int,
) -> NDArray[np.int64]:
    """Choose the ``count`` windows of largest value, spread over the images.

    Round after round, the best window of every image, best first, is taken; windows that overlap a chosen
    one are left out. Among equals, the first in position is taken.

    Args:
        values: (N,).
        image: (N,) number of the image that each window lies in.
        top: (N,) first row.
        left: (N,) first column.
        size: side of the windows.
        count: how many; fewer if there are no more.

    Returns:
        Their indices, in the order they were chosen.
    """
    order = np.argsort(-values, kind="stable")
    image, top, left = (positions[order].astype(np.int64) for positions in (image, top, left))
    free = np.ones(len(order), bool)
    chosen: list[int] = []
    while len(chosen) < count and free.any():
        candidates = np.flatnonzero(free)
        _, best = np.unique(image[candidates], return_index=True)
        for n in candidates[np.sort(best)][: count - len(chosen)].tolist():
            chosen.append(n)
            free &= (image != image[n]) | (abs(top - top[n]) >= size) | (abs(left - left[n]) >= size)
    return order[chosen]


def load_upscaler(path: str | os.PathLike[str], *, device: torch.device, tile: Tile) -> Upscale:
    """Load delivered weights as a function from LR (h, w, 3) to SR (s h, s w, 3), both uint8.

    Raises:
        ValueError: the file holds no network.
    """
    return functools.partial(super_resolve, load_model(path), device=device, tile=tile)


def upscaled_crops(
    upscale: Upscale, images: Sequence[PackedImages], regions: Sequence[Region]
) -> list[Pixels]:
    """Enlarge the regions' whole images, each once, and cut the regions out: (size, size, 3) uint8 each."""

    @functools.cache
    def enlarged(file: int, image: int) -> Pixels:
        return upscale(images[file].lr(image))

    return [region.cut(enlarged(region.file, region.image)) for region in regions]
