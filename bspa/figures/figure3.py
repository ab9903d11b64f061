"""Figure 3: what a way of sampling does to easy and to hard sub-images.

Shape legend: M networks, K classes, N sub-images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bspa.figures.style import PAGE_INCHES, STYLE, line_of

# dB. An exact reproduction has no PSNR; it counts as this, and so does whatever comes closer than this.
CEILING = 100.0
# Standard errors to each side of a mean that make its 95 % interval.
NORMAL = 1.96
# The numbers of sub-images of more classes do not fit side by side.
COUNTED = 12


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClassPsnr:
    """The PSNR on Y of each class of sub-images under each network; nan for an empty class."""

    counts: NDArray[np.int64]
    """(K,) sub-images of each class."""
    psnr: NDArray[np.float64]
    """(M, K) mean over the class, dB."""
    gain: NDArray[np.float64]
    """(M - 1, K) mean gain over the first network, dB."""
    interval: NDArray[np.float64]
    """(M - 1, K) half width of the gain's 95 % interval, dB; nan for a single sub-image."""


def class_psnr(mse_y: Sequence[NDArray[np.float32]], members: NDArray[np.int64], classes: int) -> ClassPsnr:
    """Average the PSNR of each sub-image, and its gain, over its class.

    Args:
        mse_y: for each of M networks, the (N,) mean square errors of Y / 255 on the sub-images.
        members: (N,) class of each sub-image, 1 to K.
        classes: K.
    """
    psnr = -10 * np.log10(np.maximum(np.stack(mse_y).astype(np.float64), 10 ** (-CEILING / 10)))
    gains = psnr[1:] - psnr[0]
    counts = np.bincount(members - 1, minlength=classes)

    def sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.bincount(members - 1, weights=row, minlength=classes) for row in values])

    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums(gains) / counts
        variance = sums((gains - means[:, members - 1]) ** 2) / (counts - 1)
        return ClassPsnr(
            counts=counts,
            psnr=sums(psnr) / counts,
            gain=means,
            interval=np.where(counts > 1, NORMAL * np.sqrt(variance / counts), np.nan),
        )


def figure_3(panels: Mapping[str, ClassPsnr], methods: Sequence[str], *, label: str) -> Figure:
    """Draw the mean PSNR on Y of each class, and what each method gains over the first (Figure 3)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_INCHES, 3.6), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.03, h_pad=0.02)  # type: ignore[union-attr, call-arg]
        figure.suptitle(f"PSNR on Y of sub-images by class of difficulty\n{label}")
        grid = figure.subplots(
            2, len(panels), sharex="col", sharey="row", height_ratios=(1, 1.7), squeeze=False
        )
        for (title, panel), (upper, lower) in zip(panels.items(), grid.T, strict=True):
            upper.set_title(f"{title}, {panel.counts.sum():,} sub-images")
            k = np.arange(1, len(panel.counts) + 1)
            for number, (method, psnr) in enumerate(zip(methods, panel.psnr, strict=True)):
                upper.plot(k, psnr, label=method, **line_of(number))
            _draw_gain(lower, panel)
            _write_counts(lower, panel.counts)
        grid[0, 0].set_ylabel("Mean PSNR on Y (dB)")
        grid[1, 0].set_ylabel(f"Gain over {methods[0]} (dB)\nand its 95 % interval")
        grid[0, -1].legend(loc="upper right", handlelength=3.2)
        figure.align_ylabels()
    return figure


def _draw_gain(axes: Axes, panel: ClassPsnr) -> None:
    k = np.arange(1, len(panel.counts) + 1)
    apart = 0.6 / len(panel.gain)  # side by side within the class
    axes.axhline(0, color="black", linewidth=0.6)
    for number, (gain, interval) in enumerate(zip(panel.gain, panel.interval, strict=True)):
        style = {**line_of(number + 1), "linestyle": "none"}
        x = k + (number - (len(panel.gain) - 1) / 2) * apart
        axes.errorbar(x, gain, interval, elinewidth=0.8, capsize=1.5, capthick=0.8, **style)
    axes.set_xlim(0.4, len(k) + 0.6)


def _write_counts(axes: Axes, counts: NDArray[np.int64]) -> None:
    """Write the number of each class and, where there is room, how many sub-images it has."""
    axes.set_xlabel("Class, easiest first")
    if len(counts) > COUNTED:
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        return
    thousands = counts.max() >= 10_000
    texts = [f"{count / 1000:.1f}" if thousands else f"{count:,}" for count in counts.tolist()]
    axes.set_xticks(range(1, len(counts) + 1), [f"{k}\n{text}" for k, text in enumerate(texts, 1)])
    axes.set_xlabel(f"Class, easiest first; below it, its sub-images{' (thousands)' if thousands else ''}")
