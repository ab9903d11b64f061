"""Figure 6: what the methods make of regions of the benchmarks, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.ndimage import uniform_filter

from bspa.data.resize import imresize
from bspa.difficulty.grid import grid
from bspa.figures.regions import Comparison, Photo, Pixels, Region, Upscale, choose
from bspa.figures.style import PAGE_INCHES, STYLE, axes_at, show_pixels, write_at, write_centred, write_title
from bspa.metrics.luma import to_y
from bspa.metrics.psnr_ssim import ssim_y

# About how many pixels of the longer side a whole image is shown with.
OVERVIEW = 600
FRAMES = ("#FF2A2A", "#FFE600", "#00E5FF", "#39FF14", "#FF2BD6")
"""Colours of the frame around a region; the one farthest from the photograph's own is taken."""

NOTE = (
    "PSNR (dB) / SSIM on Y of the region alone, nothing cut from its border (the tables score whole images); "
    "the best in bold."
)


def hardest_regions(photos: Sequence[Photo], upscale: Upscale, *, size: int, count: int) -> list[Region]:
    """Choose the windows in which ``upscale`` (bicubic interpolation) has the largest error on Y.

    Windows lie a quarter of their side apart. Photographs smaller than a window are passed over.

    Raises:
        ValueError: every photograph is smaller than a window.
    """
    errors, windows = [], []
    for number, photo in enumerate(photos):
        height, width, _ = photo.hr.shape
        if min(height, width) < size:
            continue
        squares = (to_y(upscale(photo.lr)) - to_y(photo.hr)) ** 2
        corners = grid(height, width, size=size, step=max(1, size // 4), threshold=0)
        means = uniform_filter(squares, size, origin=-(size // 2))  # over the window that starts here
        errors.append(means[tuple(corners.T)])
        windows.append(np.insert(corners, 0, number, axis=1))
    if not errors:
        raise ValueError(f"figures.figure6.size is {size}, but every photograph is smaller than that")
    return choose(photos, np.concatenate(errors), np.concatenate(windows), size=size, count=count)


def figure_6(
    rows: Sequence[Comparison], methods: Sequence[str], *, label: str, sources: Mapping[str, str]
) -> Figure:
    """Draw each region: the whole image, and beside it HR, LR and every method's crop (Figure 6).

    ``sources`` has what readers call each source of photographs.
    """
    margin, gap, head, caption, between, foot = 0.02, 0.06, 0.37, 0.27, 0.08, 0.17
    columns = math.ceil((2 + len(methods)) / 2)
    side = PAGE_INCHES / (columns + 2.8) - gap
    width = PAGE_INCHES - 2 * margin - columns * (side + gap)
    block = 2 * (side + caption)
    height = head + len(rows) * (block + between) + foot
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_INCHES, height))
        write_title(figure, "Regions of benchmark photographs, super-resolved", label)
        for number, row in enumerate(rows):
            top = head + number * (block + between)
            name = f"{row.region.photo.name} ({sources[row.region.photo.source]})"
            _draw_whole(figure, row.region, name, margin, top, width, block - caption)
            references = [("HR", "PSNR / SSIM", row.hr), ("LR", "input", row.lr)]
            cells = [*references, *zip(methods, _scores(row), row.sr, strict=True)]
            for cell, (title, scores, pixels) in enumerate(cells):
                x = margin + width + gap + cell % columns * (side + gap)
                y = top + cell // columns * (side + caption)
                show_pixels(axes_at(figure, x, y, side, side), pixels)
                write_centred(figure, x, y + side + 0.1, side, title)
                write_centred(figure, x, y + side + 0.205, side, scores, like="00.00 / 0.0000")
        write_at(figure, margin, height - 0.03, NOTE, va="bottom", fontsize=6)
    return figure


def _draw_whole(
    figure: Figure, region: Region, name: str, left: float, top: float, width: float, height: float
) -> None:
    """Show the whole image as large as it fits, the region framed, and its name below it."""
    image = region.photo.hr
    reduction = max(1, max(image.shape) // OVERVIEW)
    pixels = imresize(image, 1 / reduction) if reduction > 1 else image
    rows, columns = pixels.shape[:2]
    scale = min(width / columns, height / rows)
    x, y = left + (width - scale * columns) / 2, top + (height - scale * rows) / 2
    axes = axes_at(figure, x, y, scale * columns, scale * rows)
    show_pixels(axes, pixels)
    corner = (region.left / reduction - 0.5, region.top / reduction - 0.5)
    side = region.size / reduction
    for colour, points in (("black", 2.6), (frame_colour(image), 1.3)):
        axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=points))
    write_centred(figure, left, y + scale * rows + 0.1, width, name)


def frame_colour(image: Pixels) -> str:
    """Return the one of `FRAMES` that is farthest from the most similar twentieth of the image (H, W, 3)."""
    pixels = image[::8, ::8].reshape(-1, 3) / 255
    distances = [np.linalg.norm(pixels - to_rgb(colour), axis=1) for colour in FRAMES]
    return FRAMES[int(np.argmax(np.quantile(distances, 0.05, axis=1)))]


def _scores(row: Comparison) -> list[str]:
    """Write PSNR and SSIM of each method, in bold all that print as the best does."""

    def bold_best(texts: list[str]) -> list[str]:
        return [rf"$\mathbf{{{text}}}$" if text == max(texts, key=float) else text for text in texts]

    psnr = bold_best([f"{value:.2f}" for value in row.psnr])
    ssim = bold_best([f"{ssim_y(sr, row.hr, 0):.4f}" for sr in row.sr])
    return [" / ".join(pair) for pair in zip(psnr, ssim, strict=True)]
