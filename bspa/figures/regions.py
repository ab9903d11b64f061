"""Square regions of photographs, named or chosen, and what networks make of them.

Shape legend: H and W pixels of an HR image, P of a region's side, N windows.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bspa.data.packed import PackedImages
from bspa.metrics.psnr_ssim import psnr_y

log = logging.getLogger("bspa")

Pixels = NDArray[np.uint8]
Upscale = Callable[[Pixels], Pixels]

MARGIN = 16
"""HR pixels between a chosen region and the image's border, where networks that pad leave artefacts."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Photo:
    """One photograph: image ``number`` of a file of packed images, which the config calls ``source``."""

    source: str
    packed: PackedImages
    number: int

    @property
    def name(self) -> str:
        """The image's id, unique in its source."""
        return self.packed.ids[self.number]

    @property
    def hr(self) -> Pixels:
        """(H, W, 3)."""
        return self.packed.hr(self.number)

    @property
    def lr(self) -> Pixels:
        """(H / scale, W / scale, 3)."""
        return self.packed.lr(self.number)


def photos_of(sources: Mapping[str, PackedImages]) -> list[Photo]:
    """List the photographs of all sources, in order."""
    return [
        Photo(source=name, packed=packed, number=number)
        for name, packed in sources.items()
        for number in range(len(packed))
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A square window of a photograph; lengths in HR pixels."""

    photo: Photo
    top: int
    left: int
    size: int

    def cut(self, image: Pixels) -> Pixels:
        """Return the window's pixels (P, P, 3) of the whole image (H, W, 3)."""
        rows, columns = (slice(start, start + self.size) for start in (self.top, self.left))
        return np.ascontiguousarray(image[rows, columns])


def locate(
    photos: Sequence[Photo], *, source: str, image: str, top: int, left: int, size: int, key: str
) -> Region:
    """Find a region that the config names; ``key`` is its place in the config, for messages.

    Raises:
        ValueError: there is no such photograph, or the window leaves it.
    """
    named = {photo.name: photo for photo in photos if photo.source == source}
    if image not in named:
        raise ValueError(f"{key}: {source} has no image {image!r}; allowed: {', '.join(named)}")
    height, width, _ = named[image].hr.shape
    if not (0 <= top <= height - size and 0 <= left <= width - size):
        raise ValueError(
            f"{key}: top {top}, left {left} of {image}; allowed: a window of {size}x{size} pixels inside the "
            f"image's {height} rows and {width} columns"
        )
    return Region(photo=named[image], top=top, left=left, size=size)


def choose(
    photos: Sequence[Photo], values: NDArray[Any], windows: NDArray[Any], *, size: int, count: int
) -> list[Region]:
    """Choose the ``count`` windows of largest value, spread over the photographs and away from their borders.

    Round after round, the best window of every photograph, best first, is taken; windows that overlap a
    chosen one are left out. Windows within `MARGIN` of a border are taken only if there is no other. Among
    equals, the first in position is taken.

    Args:
        photos: the photographs.
        values: (N,).
        windows: (N, 3) place of the photograph in ``photos``, first row, first column.
        size: side of the windows.
        count: at most how many.
    """
    shapes = np.array([photo.packed.hr_shapes[photo.number] for photo in photos])
    corners = windows[:, 1:]
    inner = np.minimum(corners, shapes[windows[:, 0]] - size - corners).min(axis=1) >= MARGIN
    order = np.argsort(-values, kind="stable")
    left_over = windows[order[inner[order]] if inner.any() else order].astype(np.int64)
    regions: list[Region] = []
    while len(regions) < count and len(left_over):
        _, best = np.unique(left_over[:, 0], return_index=True)
        for number, top, left in left_over[np.sort(best)][: count - len(regions)].tolist():
            photo = photos[number]
            log.info("region: %s of %s, top %d, left %d", photo.name, photo.source, top, left)
            regions.append(Region(photo=photo, top=top, left=left, size=size))
            apart = abs(left_over - [number, top, left])
            left_over = left_over[(apart[:, 0] > 0) | (apart[:, 1:].max(axis=1) >= size)]
    return regions


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """What several networks make of one region."""

    region: Region
    sr: Sequence[Pixels]
    """(P, P, 3) of each network."""

    @property
    def hr(self) -> Pixels:
        """(P, P, 3)."""
        return self.region.cut(self.region.photo.hr)

    @property
    def lr(self) -> Pixels:
        """(P, P, 3) with every LR pixel repeated to HR size."""
        photo = self.region.photo
        return self.region.cut(photo.lr.repeat(photo.packed.scale, 0).repeat(photo.packed.scale, 1))

    @property
    def psnr(self) -> list[float]:
        """PSNR of each network's region in dB, on Y; inf where nothing differs."""
        return [psnr_y(sr, self.hr, 0) for sr in self.sr]


def compare(regions: Sequence[Region], upscalers: Sequence[Upscale]) -> list[Comparison]:
    """Enlarge the regions' whole images with each network, each image once, and cut the regions out."""
    crops = []
    for upscale in upscalers:
        enlarged = functools.cache(lambda photo, upscale=upscale: upscale(photo.lr))
        crops.append([region.cut(enlarged(region.photo)) for region in regions])
    return [Comparison(region=region, sr=sr) for region, *sr in zip(regions, *crops, strict=True)]
