"""Figure 4: where uniform and inverse sampling leave their errors."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bspa.difficulty.scores import Scores
from bspa.figures.regions import Comparison, Photo, Region, choose
from bspa.figures.style import PAGE_INCHES, STYLE, axes_at, show_pixels, write_at, write_centred, write_title

# Of even lightness, so that they survive a gray print and any colour vision.
ERRORS, DIFFERENCES = "inferno", "RdBu_r"
NOTE = (
    "PSNR on Y of the region alone. Error: absolute difference to HR,\n"
    "mean of R, G and B. Difference: the second error less the first,\n"
    "blue where the second is smaller."
)
# The few largest values would take the contrast from all others.
SHOWN = 0.995


def most_different(photos: Sequence[Photo], first: Scores, second: Scores, *, count: int) -> list[Region]:
    """Choose the sub-images whose errors under two networks differ most, in either direction."""
    difference = np.abs(first.mse.astype(np.float64) - second.mse)
    windows = np.stack([first.image, first.top, first.left], axis=1)
    return choose(photos, difference, windows, size=first.size, count=count)


def errors_of(row: Comparison) -> list[NDArray[np.float64]]:
    """Absolute error of each network, the mean over R, G and B, in 8-bit levels."""
    return [np.abs(sr.astype(np.float64) - row.hr).mean(axis=2) for sr in row.sr]


def figure_4(rows: Sequence[Comparison], methods: Sequence[str], *, label: str) -> Figure:
    """Draw HR, two methods' SR, their errors and the errors' difference, a row for each region (Figure 4)."""
    first, second = methods
    titles = ["HR", f"{first} SR", f"{second} SR", f"{first} error", f"{second} error", "difference"]
    margin, gap, head, caption, foot = 0.02, 0.05, 0.47, 0.18, 0.37
    side = (PAGE_INCHES - 2 * margin + gap) / len(titles) - gap
    lefts = [margin + column * (side + gap) for column in range(len(titles))]
    below = head + len(rows) * (side + caption)
    maps = np.array([errors_of(row) for row in rows])
    differences = maps[:, 1] - maps[:, 0]
    end, most = (float(np.quantile(np.abs(values), SHOWN)) or 1.0 for values in (maps, differences))
    heat = ScalarMappable(Normalize(0, end), ERRORS)
    change = ScalarMappable(Normalize(-most, most), DIFFERENCES)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_INCHES, below + foot))
        write_title(figure, "Super-resolved sub-images and their errors", label)
        for left, title in zip(lefts, titles, strict=True):
            write_centred(figure, left, head - 0.05, side, title, at_most=7)
        for number, (row, errors, difference) in enumerate(zip(rows, maps, differences, strict=True)):
            top = head + number * (side + caption)
            coloured = [heat.to_rgba(error, bytes=True) for error in errors]
            coloured.append(change.to_rgba(difference, bytes=True))
            psnr = (f"{value:.2f} dB" if np.isfinite(value) else "exact" for value in row.psnr)
            means = (f"mean {error.mean():.2f} levels" for error in errors)
            change_text = f"mean {difference.mean():+.2f} levels".replace("-", "\N{MINUS SIGN}")
            texts = [row.region.photo.name, *psnr, *means, change_text]
            for left, pixels, text in zip(lefts, [row.hr, *row.sr, *coloured], texts, strict=True):
                show_pixels(axes_at(figure, left, top, side, side), pixels[..., :3])
                write_centred(figure, left, top + side + 0.11, side, text)
        write_at(figure, margin, below + 0.03, NOTE, va="top", fontsize=6, linespacing=1.4)
        for column, width, colours, what, extend in (
            (3, 2 * side + gap, heat, "error (8-bit levels)", "max"),
            (5, side, change, "difference (8-bit levels)", "both"),
        ):
            bar = axes_at(figure, lefts[column], below + 0.03, width, 0.07)
            figure.colorbar(colours, cax=bar, orientation="horizontal", extend=extend, ticks=MaxNLocator(4))
            bar.tick_params(pad=1.5)
            bar.set_xlabel(what, labelpad=1, fontsize=6)
    return figure
