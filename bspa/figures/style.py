"""How the figures look: widths, letters, colours, lines and titles; and how they are written."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bspa.system.files import atomic_path
from bspa.system.origin import NAME, Origin

COLUMN_INCHES = 3.3
PAGE_INCHES = 6.9
DPI = 300
BINS = 60

# Okabe and Ito's palette: distinct for every kind of colour vision.
BLUE, SKY, VERMILION = "#0072B2", "#56B4E9", "#D55E00"
GREEN, PURPLE, ORANGE = "#009E73", "#CC79A7", "#E69F00"
BLACK, GRAY = "#000000", "#7F7F7F"

# The lengths have no common factor, so 40 methods differ, and the first ones differ without colours, too.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, GRAY)
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1)), (0, (7, 1.5, 1, 1, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

TITLE_POINTS = 7.5
TICKS = {"labelsize": 6, "major.width": 0.6, "major.size": 2.5, "minor.width": 0.4, "minor.size": 1.5}
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 7,
    "figure.titlesize": TITLE_POINTS,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    **{f"{axis}tick.{name}": value for axis in "xy" for name, value in TICKS.items()},
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "pdf.fonttype": 42,  # embedded TrueType, which publishers ask for
}


def line_of(method: int) -> dict[str, Any]:
    """Return colour, line style and marker of the method with this number, from 0."""
    return {
        "color": COLOURS[method % len(COLOURS)],
        "linestyle": LINES[method % len(LINES)],
        "marker": MARKERS[method % len(MARKERS)],
    }


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place in inches from the upper left corner."""
    columns, rows = figure.get_size_inches()
    return figure.add_axes((left / columns, 1 - (top + height) / rows, width / columns, height / rows))


def write_at(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    """Write ``text`` at a place in inches from the upper left corner."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, **style)


def write_centred(
    figure: Figure,
    left: float,
    baseline: float,
    width: float,
    text: str,
    at_most: float = 6.5,
    like: str = "",
) -> None:
    """Write ``text`` in the middle of a space, in inches, with letters small enough to fit.

    ``like`` has the length that mathematics has once it is drawn; its source is longer.
    """
    points = 72 * width / (0.62 * max(len(like or text), 1))  # a letter of DejaVu Sans: about 0.62 em
    style = {"ha": "center", "va": "baseline", "fontsize": min(at_most, points)}
    write_at(figure, left + width / 2, baseline, text, **style)


def draw_histograms(
    axes: Axes, values: Sequence[NDArray[np.float64]], looks: Sequence[Mapping[str, Any]]
) -> None:
    """Draw histograms of errors, in the same bins from 0 to the largest, with logarithmic counts."""
    end = max(float(each.max()) for each in values) or 1.0
    most = 1
    axes.set_yscale("log")
    for each, look in zip(values, looks, strict=True):
        counts, edges = np.histogram(each, BINS, (0.0, end))
        axes.stairs(counts, edges, baseline=0.5, fill=True, **look)
        most = max(most, counts.max())
    axes.set(xlim=(0, end), ylim=(0.5, 2 * most), ylabel="Sub-images\n(log scale)")
    axes.yaxis.set_major_formatter("{x:,.0f}")


def show_pixels(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    """Show an image (H, W, 3) uint8 pixel by pixel, without ticks, in a thin frame."""
    axes.imshow(pixels, interpolation="none", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.4, color=GRAY)


def write_title(figure: Figure, title: str, label: str) -> None:
    """Write a title and what the figure is of on top of a figure whose axes have places in inches."""
    for baseline, text in ((0.13, title), (0.26, label)):
        width = float(figure.get_size_inches()[0])
        write_centred(figure, 0, baseline, width, text, at_most=TITLE_POINTS)


def save_figure(
    figure: Figure, pdf: str | os.PathLike[str], png: str | os.PathLike[str], origin: Origin
) -> None:
    """Write ``figure`` as PDF and PNG that tell its origin, without dates: equal figures give equal bytes."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every part of a font that it drops
    with mpl.rc_context(STYLE):
        with atomic_path(pdf) as temporary:
            undated = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(temporary, format="pdf", metadata={**undated, "Keywords": json.dumps(origin)})
        with atomic_path(png) as temporary:
            metadata = {"Software": None, NAME: json.dumps(origin)}
            figure.savefig(temporary, format="png", dpi=DPI, metadata=metadata)
