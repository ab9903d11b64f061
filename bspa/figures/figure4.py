"""Figure 4: where uniform and inverse sampling leave their errors.

Shape legend: P pixels of a region's side.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bspa.data.crops import check_windows
from bspa.data.packed import PackedImages
from bspa.difficulty.scores import Scores
from bspa.figures.regions import Region, choose
from bspa.figures.style import GRAY, PAGE_INCHES, STYLE, axes_at, show_pixels, write_at, write_centred
from bspa.metrics.psnr_ssim import psnr_y

log = logging.getLogger("bspa")

Pixels = NDArray[np.uint8]

# Perceptually uniform, and of rising lightness: it survives a gray print.
COLOURS = "inferno"
# The few largest errors would darken all others.
SHOWN = 0.995
NOTE = (
    "PSNR in dB on Y of the region alone, nothing cut from its border; below the error maps their mean.\n"
    "Error: absolute difference to HR, averaged over R, G and B, in 8-bit levels."
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """What networks make of one region."""

    name: str
    hr: Pixels
    """(P, P, 3)."""
    sr: Sequence[Pixels]
    """(P, P, 3) for each network."""

    @property
    def psnr(self) -> list[float]:
        """PSNR of each network's region in dB, on Y; inf where nothing differs."""
        return [psnr_y(np.ascontiguousarray(sr), np.ascontiguousarray(self.hr), 0) for sr in self.sr]

    @property
    def errors(self) -> list[NDArray[np.float64]]:
        """(P, P) absolute error of each network, the mean over R, G and B, in 8-bit levels."""
        return [np.abs(sr.astype(np.float64) - self.hr).mean(axis=2) for sr in self.sr]


def most_different(
    images: PackedImages, first: Scores, second: Scores, *, size: int, count: int
) -> list[Region]:
    """Choose the sub-images whose errors under two networks differ most, in either direction.

    Args:
        images: what the sub-images lie in.
        first: scores under one network.
        second: scores of the same sub-images under the other.
        size: side of the regions, which must be that of the sub-images.
        count: how many; see `bspa.figures.regions.choose`.

    Raises:
        ValueError: the sub-images are of another size or of other images.
    """
    if first.size != size:
        raise ValueError(
            f"the scored sub-images have sides of {first.size} pixels, the regions to show {size}; "
            "give figures.figure4.regions, or leave them the size of the sub-images"
        )
    check_windows(images, first.image, first.top, first.left, size)
    difference = np.abs(first.mse.astype(np.float64) - second.mse)
    chosen = choose(difference, first.image, first.top, first.left, size=size, count=count)
    for n in chosen.tolist():
        log.info(
            "region: image %s, top %d, left %d; MSE %.3g and %.3g",
            images.ids[first.image[n]], first.top[n], first.left[n], first.mse[n], second.mse[n],
        )  # fmt: skip
    return [
        Region(
            file=0,
            image=int(first.image[n]),
            top=int(first.top[n]),
            left=int(first.left[n]),
            size=size,
        )
        for n in chosen.tolist()
    ]


def figure_4(rows: Sequence[Comparison], methods: Sequence[str], *, label: str) -> Figure:
    """Draw HR, each method's SR and each method's error map, a row for each region (Figure 4).

    Args:
        rows: the regions.
        methods: labels.
        label: network, scale and data.
    """
    margin, gap, for_bar, head, caption, foot = 0.02, 0.05, 0.5, 0.36, 0.17, 0.27
    titles = ["HR", *(f"{method} SR" for method in methods), *(f"error, {method}" for method in methods)]
    side = (PAGE_INCHES - margin - for_bar) / len(titles) - gap
    lefts = [margin + column * (side + gap) for column in range(len(titles))]
    height = head + len(rows) * (side + caption) + foot
    errors = [row.errors for row in rows]
    end = float(np.quantile(np.concatenate([e.ravel() for row in errors for e in row]), SHOWN)) or 1.0
    colours = ScalarMappable(Normalize(0, end), COLOURS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_INCHES, height))
        write_at(figure, margin, 0.12, label, va="center", fontsize=6.5, color=GRAY)
        for left, title in zip(lefts, titles, strict=True):
            write_centred(figure, left, head - 0.05, side, title, at_most=7)
        for number, (row, maps) in enumerate(zip(rows, errors, strict=True)):
            top = head + number * (side + caption)
            images = [row.hr, *row.sr, *(colours.to_rgba(error, bytes=True)[..., :3] for error in maps)]
            texts = [row.name, *map(_decibels, row.psnr), *(f"{error.mean():.2f}" for error in maps)]
            for left, pixels, text in zip(lefts, images, texts, strict=True):
                show_pixels(axes_at(figure, left, top, side, side), pixels)
                write_centred(figure, left, top + side + 0.11, side, text)
        bar = axes_at(figure, lefts[-1] + side + 0.08, head, 0.1, len(rows) * (side + caption) - caption)
        figure.colorbar(colours, cax=bar, extend="max", ticks=MaxNLocator(6))
        bar.set_ylabel("Error (8-bit levels)", labelpad=2)
        write_at(figure, margin, height - 0.03, NOTE, va="bottom", fontsize=5.5, color=GRAY)
    return figure


def _decibels(psnr: float) -> str:
    return f"{psnr:.2f} dB" if np.isfinite(psnr) else "exact"
