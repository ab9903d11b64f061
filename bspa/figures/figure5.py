"""Figure 5: whether a method shortens the tail of the errors."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bspa.figures.style import COLUMN_INCHES, STYLE, count_decades, draw_histograms, line_of

# Points of the curve of the tail.
POINTS = 400

Errors = NDArray[np.floating]


def share_above(mse: Errors, limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the sub-images whose error is larger than each of ``limits``."""
    return 1.0 - np.searchsorted(np.sort(mse.astype(np.float64)), limits, side="right") / len(mse)


def summary(mse: Errors) -> dict[str, float]:
    """Return mean, median, 95th and 99th percentile of the errors."""
    median, p95, p99 = np.quantile(mse.astype(np.float64), [0.5, 0.95, 0.99]).tolist()
    return {"mean": float(mse.mean(dtype=np.float64)), "median": median, "95th pct": p95, "99th pct": p99}


def figure_5(mse: Sequence[Errors], methods: Sequence[str], *, label: str) -> Figure:
    """Draw the distribution of the sub-images' errors under each method (Figure 5).

    Above, histograms of each method's (N,) errors, means and percentiles; below, on the same axis, the share
    of sub-images whose error is larger.
    """
    scaled = [1e3 * errors.astype(np.float64) for errors in mse]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_INCHES, 3.7), layout="constrained")
        figure.suptitle(f"Errors of {len(mse[0]):,} training sub-images\n{label}")
        upper, lower = figure.subplots(2, sharex=True)
        lines = [line_of(number) for number in range(len(scaled))]
        looks = [
            {"facecolor": to_rgba(line["color"], 0.15), "edgecolor": line["color"], "linewidth": 0.9}
            | {"linestyle": line["linestyle"]}
            for line in lines
        ]
        draw_histograms(upper, scaled, looks)
        _write_summary(upper, scaled, methods)
        _draw_tails(lower, scaled, methods)
        figure.align_ylabels()
    return figure


def _write_summary(axes: Axes, mse: Sequence[NDArray[np.float64]], methods: Sequence[str]) -> None:
    rows = [summary(errors) for errors in mse]
    cells = [list(rows[0]), *([f"{value:#.3g}" for value in row.values()] for row in rows)]
    left, step, top, line = 0.52, 0.155, 0.95, 0.09
    for number, (method, row) in enumerate(zip(["MSE (10⁻³)", *methods], cells, strict=True)):
        for column, text in enumerate([method, *row], -1):
            x, y = left + column * step, top - number * line
            axes.text(x, y, text, transform=axes.transAxes, fontsize=5.5, va="center", ha="right")


def _draw_tails(axes: Axes, mse: Sequence[NDArray[np.float64]], methods: Sequence[str]) -> None:
    limits = np.linspace(0, axes.get_xlim()[1], POINTS)
    for number, (method, errors) in enumerate(zip(methods, mse, strict=True)):
        percent = 100 * share_above(errors, limits)
        look = {**line_of(number), "marker": None}
        axes.plot(limits, np.where(percent > 0, percent, np.nan), label=method, **look)
    count_decades(axes, "{x:g}")
    axes.legend(loc="upper right", handlelength=3.2)
    axes.set_ylim(70 / len(mse[0]), 130)
    axes.set_xlabel("MSE (10⁻³, RGB in [0, 1])")
    axes.set_ylabel("Sub-images with a\nlarger MSE (%, log scale)")
