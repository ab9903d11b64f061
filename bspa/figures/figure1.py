"""Figure 1: the long tail of difficulty, and its classes."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from bspa.difficulty.classes import Classes
from bspa.figures.style import BLUE, COLUMN_INCHES, SKY, STYLE, VERMILION

BINS = 120
# The few hardest sub-images would stretch the axis to several times its length.
SHOWN = 0.99
# Classes that take a smaller part of the axis are not numbered.
NARROW = 0.035


def figure_1(mse: NDArray[np.float32], classes: Classes, *, label: str) -> Figure:
    """Draw the long tail of difficulty (Figure 1), and how it is split into classes (Eq. 2, 3).

    Above, the histogram of the sub-images over their error, cut at its 99th percentile, with a line at
    every border t_k; below, the share of the sub-images that each class holds, in the same colours.

    Args:
        mse: (N,) scores of all sub-images, RGB in [0, 1].
        classes: the split of these scores.
        label: what the sub-images are, for the corner of the figure.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_INCHES, 2.9), layout="constrained")
        histogram, shares = figure.subplots(2, height_ratios=(1.9, 1))
        _draw_histogram(histogram, 1e3 * mse.astype(np.float64), 1e3 * classes.thresholds, label)
        _draw_shares(shares, classes.sizes)
        figure.align_ylabels()
    return figure


def _draw_histogram(
    axes: Axes, mse: NDArray[np.float64], thresholds: NDArray[np.float64], label: str
) -> None:
    end = float(np.quantile(mse, SHOWN)) or 1.0
    counts, edges = np.histogram(mse, BINS, (0.0, end))
    over_the_top: dict[str, Any] = {
        "transform": axes.get_xaxis_transform(),
        "fontsize": 5.5,
        "color": VERMILION,
    }
    axes.set(xlim=(0, end), ylim=(0, 1.05 * max(counts.max(), 1)))
    borders = [0.0, *np.minimum(thresholds[:-1], end), end]
    for k, (left, right) in enumerate(itertools.pairwise(borders), 1):
        bars = axes.stairs(counts, edges, fill=True, color=_colour(k), linewidth=0)
        bars.set_clip_path(Rectangle((left, 0), right - left, axes.get_ylim()[1], transform=axes.transData))
        if right - left > NARROW * end:
            axes.text((left + right) / 2, 1.01, str(k), ha="center", va="bottom", **over_the_top)
    axes.vlines(thresholds[:-1], 0, 1, VERMILION, linewidth=0.5, transform=axes.get_xaxis_transform())
    note = (
        f"{label}\n{len(mse):,} sub-images\n{np.mean(mse > end):.1%} beyond the axis, up to {mse.max():,.1f}"
    )
    axes.text(
        0.98, 0.96, note, transform=axes.transAxes, ha="right", va="top", fontsize=6, linespacing=1.4,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip
    axes.set_xlabel("MSE of the reference network (10⁻³, RGB in [0, 1])")
    axes.set_ylabel("Sub-images")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_shares(axes: Axes, sizes: NDArray[np.int64]) -> None:
    percent = 100 * sizes / sizes.sum()
    k = np.arange(1, len(sizes) + 1)
    bars = axes.bar(k, percent, 0.8, color=[_colour(n) for n in k.tolist()])
    if len(sizes) <= 12:
        axes.bar_label(bars, fmt="{:.1f}", fontsize=5.5, padding=1)
        axes.set_xticks(k)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.margins(x=0.02, y=0.2)
    axes.set_xlabel("Class $k$, easiest first")
    axes.set_ylabel("Share (%)")


def _colour(k: int) -> str:
    return (SKY, BLUE)[k % 2]
