"""Figure 1: the long tail of difficulty, and the classes that it is split into."""

from __future__ import annotations

import itertools
import math

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bspa.difficulty.classes import Classes
from bspa.figures.style import BLUE, COLUMN_INCHES, SKY, STYLE, count_decades, draw_histograms

# Points of the curve in each class.
POINTS = 50
# The easiest part of the sub-images may reach down to an error of 0; the curve starts after it.
EASIEST = 0.002
# Percent of the axis that a digit of a class's number takes, and the space between two numbers.
DIGIT, SPACE = 1.75, 0.5


def figure_1(mse: NDArray[np.float32], classes: Classes, *, label: str) -> Figure:
    """Draw the long tail of difficulty (Figure 1), and how it is split into classes (Eq. 2, 3).

    Above, a histogram of the (N,) errors; below, the errors in ascending order, with the classes as intervals
    that are as wide as their share of the sub-images.
    """
    scaled = 1e3 * mse.astype(np.float64)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_INCHES, 3.7), layout="constrained")
        figure.suptitle(f"The long tail of difficulty\n{label}")
        histogram, ascending = figure.subplots(2, height_ratios=(1, 1.15))
        _draw_histogram(histogram, scaled)
        _draw_classes(ascending, scaled, classes.sizes)
        figure.align_ylabels()
    return figure


def _draw_histogram(axes: Axes, mse: NDArray[np.float64]) -> None:
    draw_histograms(axes, [mse], [{"color": BLUE, "linewidth": 0}])
    half, tail = np.quantile(mse, [0.5, 0.99])
    note = f"{len(mse):,} sub-images\nhalf below {half:.2f} · 10⁻³\n1 % above {tail:.2f} · 10⁻³"
    axes.text(0.98, 0.96, note, transform=axes.transAxes, ha="right", va="top", fontsize=6, linespacing=1.4)
    axes.set_xlabel("MSE of the reference network (10⁻³, RGB in [0, 1])")


def _draw_classes(axes: Axes, mse: NDArray[np.float64], sizes: NDArray[np.int64]) -> None:
    bounds = np.concatenate([[0], sizes.cumsum()]) / sizes.sum()
    floor = float(np.quantile(mse, EASIEST)) or float(mse.max()) / 1e3 or 1.0
    count_decades(axes, "{x:g}")
    for k, (left, right) in enumerate(itertools.pairwise(bounds)):
        shares = np.linspace(left, right, POINTS)
        errors = np.maximum(np.quantile(mse, shares), floor)
        axes.fill_between(100 * shares, errors, 0.9 * floor, color=(BLUE, SKY)[k % 2], linewidth=0)
    axes.set(xlim=(0, 100), ylim=(0.9 * floor, 1.3 * max(float(mse.max()), floor)))
    axes.set_xlabel("Sub-images, easiest first (%)")
    axes.set_ylabel("MSE (10⁻³)\n(log scale)")
    axes.set_title("Class", pad=10)
    free = math.inf  # left end of the last number; the hardest class has room beyond the end of the axis
    for k in range(len(sizes), 0, -1):
        left, right = 100 * bounds[k - 1 : k + 1]
        width = DIGIT * len(str(k))
        start = max(left, (left + right - width) / 2)
        if start + width + SPACE <= free:
            place = axes.get_xaxis_transform()
            axes.text(start, 1.02, str(k), transform=place, ha="left", fontsize=5)
            free = start
