"""Figure 6: what the methods make of regions of the benchmarks, side by side.

Shape legend: H and W pixels of an image, P of a region's side.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.difficulty.grid import grid
from bspa.figures.regions import Region, choose, locate
from bspa.figures.style import (
    GRAY,
    PAGE_INCHES,
    STYLE,
    VERMILION,
    axes_at,
    frame,
    show_pixels,
    write_at,
    write_centred,
)
from bspa.metrics.luma import to_y
from bspa.metrics.psnr_ssim import WINDOW, psnr_y, ssim_y

log = logging.getLogger("bspa")

Pixels = NDArray[np.uint8]
Upscale = Callable[[Pixels], Pixels]

KEY = "figures.figure6.regions"
# A whole image is shown with about so many pixels along its longer side.
OVERVIEW = 600
NOTE = (
    "PSNR (dB) / SSIM on Y of the region alone, nothing cut from its border (the tables score whole images); "
    "the best in bold."
)


def given_regions(
    images: Mapping[str, PackedImages], wanted: Sequence[Mapping[str, Any]], *, size: int
) -> list[Region]:
    """Find the regions that the config names by benchmark and image.

    Raises:
        ValueError: there is no such benchmark or image, or a window leaves its image or is too small.
    """
    _check_size(size)
    regions = []
    for region in wanted:
        name = region["benchmark"]
        if name not in images:
            raise ValueError(f"{KEY}: there is no benchmark {name!r}; allowed are {', '.join(images)}")
        file = list(images).index(name)
        regions.append(locate(images[name], region, size=size, key=f"{KEY}: {name}", file=file))
    return regions


def hardest_regions(
    images: Mapping[str, PackedImages], upscale: Upscale, *, size: int, count: int
) -> list[Region]:
    """Choose the windows in which ``upscale`` (bicubic interpolation) has the largest error on Y.

    Windows lie a quarter of their side apart; see `bspa.figures.regions.choose`. Images smaller than a
    window are passed over.

    Raises:
        ValueError: a window is too small for SSIM, or larger than every image.
    """
    _check_size(size)
    errors: list[NDArray[np.float64]] = []
    places: list[NDArray[np.int64]] = []  # file, image, top, left
    for file, packed in enumerate(images.values()):
        for image in range(len(packed)):
            height, width = packed.hr_shapes[image].tolist()
            if min(height, width) < size:
                continue
            squares = (to_y(upscale(packed.lr(image))) - to_y(packed.hr(image))) ** 2
            windows = grid(height, width, size=size, step=max(1, size // 4), threshold=0)
            errors.append(window_means(squares, windows, size))
            whose = np.broadcast_to([file, image], (len(windows), 2))
            places.append(np.concatenate([whose, windows], axis=1))
    if not errors:
        raise ValueError(
            f"figures.figure6.size is {size}, but every image of {', '.join(images)} is smaller than that"
        )
    files, numbers, tops, lefts = np.concatenate(places).T
    of_all = files * (1 + numbers.max()) + numbers
    chosen = choose(np.concatenate(errors), of_all, tops, lefts, size=size, count=count)
    regions = []
    for n in chosen.tolist():
        file, image, top, left = (int(values[n]) for values in (files, numbers, tops, lefts))
        name, packed = list(images.items())[file]
        log.info("region: {benchmark: %s, image: %r, top: %d, left: %d}", name, packed.ids[image], top, left)
        regions.append(Region(file=file, image=image, top=top, left=left, size=size))
    return regions


def _check_size(size: int) -> None:
    if size < WINDOW:
        raise ValueError(f"figures.figure6.size is {size}; SSIM needs regions of {WINDOW} pixels or more")


def window_means(values: NDArray[np.float64], windows: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Mean of ``values`` (H, W) over each of n square windows, (n, 2) top and left: (n,)."""
    sums = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    top, left = windows.T
    bottom, right = top + size, left + size
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return inside / size**2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Row:
    """One region, and what every method makes of it."""

    name: str
    overview: Pixels
    """The whole image, made smaller."""
    reduction: int
    """By how much."""
    region: Region
    hr: Pixels
    """(P, P, 3)."""
    sr: Sequence[Pixels]
    """(P, P, 3) for each method."""

    @property
    def psnr(self) -> list[float]:
        """PSNR of each method's region in dB, on Y; inf where nothing differs."""
        return [psnr_y(sr, self.hr, 0) for sr in self.sr]

    @property
    def ssim(self) -> list[float]:
        """SSIM of each method's region, on Y."""
        return [ssim_y(sr, self.hr, 0) for sr in self.sr]


def make_row(name: str, hr: Pixels, region: Region, sr: Sequence[Pixels]) -> Row:
    """Put together a row from the whole HR image (H, W, 3) and the methods' pixels of the region."""
    reduction = max(1, max(hr.shape) // OVERVIEW)
    overview = imresize(hr, 1 / reduction) if reduction > 1 else hr
    return Row(name=name, overview=overview, reduction=reduction, region=region, hr=region.cut(hr), sr=sr)


def figure_6(rows: Sequence[Row], methods: Sequence[str], *, label: str) -> Figure:
    """Draw each region: the whole image, and beside it HR and every method's crop (Figure 6).

    Args:
        rows: the regions.
        methods: labels.
        label: network, scale and data.
    """
    margin, gap, head, caption, between, foot = 0.02, 0.06, 0.23, 0.27, 0.08, 0.17
    columns = math.ceil((1 + len(methods)) / 2)
    side = PAGE_INCHES / (columns + 2.8) - gap
    width = PAGE_INCHES - 2 * margin - columns * (side + gap)
    block = 2 * (side + caption)
    height = head + len(rows) * (block + between) + foot
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_INCHES, height))
        write_at(figure, 0.02, 0.12, label, va="center", fontsize=6.5, color=GRAY)
        for number, row in enumerate(rows):
            top = head + number * (block + between)
            _draw_overview(figure, row, margin, top, width, block - caption)
            cells = [("HR", "PSNR / SSIM", row.hr), *zip(methods, _scores(row), row.sr, strict=True)]
            for cell, (title, scores, pixels) in enumerate(cells):
                x = margin + width + gap + cell % columns * (side + gap)
                y = top + cell // columns * (side + caption)
                show_pixels(axes_at(figure, x, y, side, side), pixels)
                write_centred(figure, x, y + side + 0.1, side, title)
                write_centred(figure, x, y + side + 0.205, side, scores, like="00.00 / 0.0000")
        write_at(figure, 0.02, height - 0.03, NOTE, va="bottom", fontsize=5.5, color=GRAY)
    return figure


def _draw_overview(figure: Figure, row: Row, left: float, top: float, width: float, height: float) -> None:
    """Show the whole image as large as it fits, and its name below it."""
    rows, columns = row.overview.shape[:2]
    scale = min(width / columns, height / rows)
    x, y = left + (width - scale * columns) / 2, top + (height - scale * rows) / 2
    axes = axes_at(figure, x, y, scale * columns, scale * rows)
    axes.imshow(row.overview, interpolation="none", aspect="auto")
    frame(axes)
    _draw_box(axes, row)
    write_centred(figure, left, y + scale * rows + 0.1, width, row.name)


def _draw_box(axes: Axes, row: Row) -> None:
    corner = (row.region.left / row.reduction - 0.5, row.region.top / row.reduction - 0.5)
    side = row.region.size / row.reduction
    for colour, width in (("white", 2.0), (VERMILION, 1.0)):  # seen on any background
        axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=width))


def _scores(row: Row) -> list[str]:
    psnr = _bold_best([f"{value:.2f}" for value in row.psnr])
    ssim = _bold_best([f"{value:.4f}" for value in row.ssim])
    return [f"{decibels} / {similarity}" for decibels, similarity in zip(psnr, ssim, strict=True)]


def _bold_best(numbers: Sequence[str]) -> list[str]:
    """Bold all that print as the best does."""
    best = max(numbers, key=float)
    return [rf"$\mathbf{{{number}}}$" if number == best else number for number in numbers]
