"""Figure 5: whether a method shortens the tail of the errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from bspa.figures.style import COLUMN_INCHES, STYLE, line_of

BINS = 80
SHOWN = 0.99
# Points of the curve of the tail.
POINTS = 400

Errors = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Histograms:
    """How M networks' errors on the same sub-images are distributed."""

    edges: NDArray[np.float64]
    """(B + 1,) edges of the bins: 0 to the first network's 99th percentile."""
    counts: NDArray[np.int64]
    """(M, B) sub-images in each bin; those beyond the last edge are in none."""


def histograms(mse: Sequence[Errors]) -> Histograms:
    """Count the errors of each network in `BINS` bins up to the first network's 99th percentile."""
    end = float(np.quantile(mse[0].astype(np.float64), SHOWN)) or 1.0
    edges = np.linspace(0.0, end, BINS + 1)
    counts = np.stack([np.histogram(errors.astype(np.float64), edges)[0] for errors in mse])
    return Histograms(edges=edges, counts=counts)


def share_above(mse: Errors, limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the sub-images whose error is larger than each of ``limits``."""
    return 1.0 - np.searchsorted(np.sort(mse.astype(np.float64)), limits, side="right") / len(mse)


def summary(mse: Errors) -> dict[str, float]:
    """Mean, median, 95th and 99th percentile of the errors."""
    median, p95, p99 = np.quantile(mse.astype(np.float64), [0.5, 0.95, 0.99]).tolist()
    return {"mean": float(mse.mean(dtype=np.float64)), "median": median, "95th pct": p95, "99th pct": p99}


def figure_5(mse: Sequence[Errors], methods: Sequence[str], *, label: str) -> Figure:
    """Draw the distribution of the sub-images' errors under each method (Figure 5).

    Above, histograms up to the first method's 99th percentile, and a table of means and percentiles; below,
    the share of sub-images whose error is above a value, over the whole range, which shows the tail.

    Args:
        mse: (N,) errors of the sub-images, RGB in [0, 1], for each method.
        methods: labels.
        label: network, scale and data.
    """
    scaled = [1e3 * errors.astype(np.float64) for errors in mse]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_INCHES, 3.6), layout="constrained")
        upper, lower = figure.subplots(2, height_ratios=(1.25, 1))
        _draw_histograms(upper, histograms(scaled))
        _write_summary(upper, scaled, methods, f"{label}\n{len(mse[0]):,} sub-images")
        _draw_tails(lower, scaled, methods)
        figure.align_ylabels()
    return figure


def _draw_histograms(axes: Axes, bars: Histograms) -> None:
    for number, counts in enumerate(bars.counts):
        line = line_of(number)
        axes.stairs(
            counts,
            bars.edges,
            fill=True,
            facecolor=to_rgba(line["color"], 0.15),
            edgecolor=line["color"],
            linestyle=line["linestyle"],
            linewidth=0.9,
        )
    axes.set(xlim=(0, bars.edges[-1]), ylim=(0, 1.05 * max(bars.counts.max(), 1)))
    axes.set_xlabel("MSE (10⁻³, RGB in [0, 1])")
    axes.set_ylabel("Sub-images")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _write_summary(axes: Axes, mse: Sequence[Errors], methods: Sequence[str], label: str) -> None:
    axes.text(0.99, 0.99, label, transform=axes.transAxes, ha="right", va="top", fontsize=6, linespacing=1.4)
    rows = [summary(errors) for errors in mse]
    names = list(rows[0])
    left, step, top, line = 0.54, 0.15, 0.74, 0.085
    small: Any = {"transform": axes.transAxes, "fontsize": 5.5, "va": "center", "ha": "right"}
    for column, name in enumerate(names):
        axes.text(left + column * step, top, name, **small)
    for number, (method, row) in enumerate(zip(methods, rows, strict=True)):
        y = top - (number + 1) * line
        axes.text(left - step, y, method, **small)
        for column, name in enumerate(names):
            axes.text(left + column * step, y, f"{row[name]:#.3g}", **small)


def _draw_tails(axes: Axes, mse: Sequence[Errors], methods: Sequence[str]) -> None:
    largest = max(float(errors.max()) for errors in mse) or 1.0
    least = 1 / len(mse[0])
    limits = np.linspace(0, largest, POINTS)
    for number, (method, errors) in enumerate(zip(methods, mse, strict=True)):
        share = share_above(errors, limits)
        line = {**line_of(number), "marker": None}
        axes.plot(limits, np.where(share > 0, 100 * share, np.nan), label=method, **line)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda percent, _: f"{percent:g}"))
    axes.legend(loc="upper right", handlelength=3.2)
    axes.set(xlim=(0, largest), ylim=(70 * least, 130))
    axes.set_xlabel("$x$, MSE (10⁻³)")
    axes.set_ylabel("Sub-images above $x$ (%)")
