"""How the figures look: widths, letters, colours and lines; and how they are written."""

from __future__ import annotations

import logging
import os
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bspa.system.files import atomic_path

COLUMN_INCHES = 3.3
PAGE_INCHES = 6.9

# Okabe and Ito's palette: told apart with any colour vision.
BLUE, SKY, VERMILION = "#0072B2", "#56B4E9", "#D55E00"
GREEN, PURPLE, ORANGE = "#009E73", "#CC79A7", "#E69F00"
BLACK, GRAY = "#000000", "#7F7F7F"

# One of each for a method. The lengths have no common factor: 40 methods before a pair comes again, and
# lines and markers tell the first ones apart without colours.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, GRAY)
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1)), (0, (7, 1.5, 1, 1, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "hatch.linewidth": 0.4,
    "pdf.fonttype": 42,  # embedded TrueType, which publishers ask for
}


def line_of(method: int) -> dict[str, Any]:
    """Colour, line style and marker of the method of this number, from 0."""
    return {
        "color": COLOURS[method % len(COLOURS)],
        "linestyle": LINES[method % len(LINES)],
        "marker": MARKERS[method % len(MARKERS)],
    }


def write_label(figure: Figure, label: str) -> None:
    """Write what the figure is of into the upper left corner of a figure that lays itself out."""
    figure.suptitle(label, x=0.005, ha="left", fontsize=6.5, color=GRAY)


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes by their place in inches from the upper left corner."""
    figure_width, figure_height = figure.get_size_inches()
    return figure.add_axes(
        (
            left / figure_width,
            1 - (top + height) / figure_height,
            width / figure_width,
            height / figure_height,
        )
    )


def write_at(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    """Write ``text`` at a place in inches from the upper left corner."""
    figure_width, figure_height = figure.get_size_inches()
    figure.text(left / figure_width, 1 - top / figure_height, text, **style)


def write_centred(
    figure: Figure,
    left: float,
    baseline: float,
    width: float,
    text: str,
    *,
    at_most: float = 6.5,
    like: str = "",
) -> None:
    """Write ``text`` in the middle of a space, in inches, with letters small enough to fit.

    ``like`` is what mathematics looks like, whose source is longer than what is written.
    """
    points = font_size(like or text, width, at_most=at_most)
    write_at(figure, left + width / 2, baseline, text, ha="center", va="baseline", fontsize=points)


def font_size(text: str, inches: float, *, at_most: float) -> float:
    """Points at which ``text`` is about ``inches`` wide, or ``at_most``."""
    return min(at_most, 72 * inches / (0.62 * max(len(text), 1)))  # DejaVu Sans: some 0.62 em to a letter


def compact(count: int) -> str:
    """Write a count in at most four characters and a unit: 850, 1.2k, 111k, 2.5M."""
    if count < 1000:
        return str(count)
    for unit in "kMG":
        value = count / 1000 ** ("kMG".index(unit) + 1)
        if value < 999.5:
            return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
    return f"{count:.0e}"


def show_pixels(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    """Show an image (H, W, 3) uint8 pixel by pixel, without ticks, in a thin frame."""
    axes.imshow(pixels, interpolation="none")
    frame(axes)


def frame(axes: Axes) -> None:
    """Leave of the axes a thin frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.4, color=GRAY)


def save_figure(
    figure: Figure, pdf: str | os.PathLike[str], png: str | os.PathLike[str], *, dpi: int = 300
) -> None:
    """Write ``figure`` as PDF and as PNG; equal figures give equal bytes, since neither is dated."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every part of a font that it drops
    with mpl.rc_context(STYLE):
        with atomic_path(pdf) as temporary:
            undated = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(temporary, format="pdf", metadata=undated)
        with atomic_path(png) as temporary:
            figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})
