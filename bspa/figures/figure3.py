"""Figure 3: what a way of sampling does to easy and to hard sub-images."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bspa.difficulty.classes import Classes, assign_classes
from bspa.difficulty.scores import Scores
from bspa.figures.style import PAGE_INCHES, STYLE, compact, line_of, write_label

log = logging.getLogger("bspa")

CEILING = 100.0
"""dB. An exact reproduction has no PSNR; it counts as this, and so does whatever comes closer than this."""

# The counts of so many classes stand on a line, and those of twice as many on two; of more, none are shown.
ONE_LINE = 12


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClassPsnr:
    """The PSNR of K classes of sub-images under M networks."""

    counts: NDArray[np.int64]
    """(K,) sub-images of each class."""
    psnr: NDArray[np.float64]
    """(M, K) mean over the sub-images of the class, dB; nan where the class is empty."""


def psnr_rgb(mse: NDArray[np.floating]) -> NDArray[np.float64]:
    """PSNR in dB of mean square errors, RGB in [0, 1]: 10 log10(1 / MSE), at most `CEILING`."""
    least = 10 ** (-CEILING / 10)
    return -10 * np.log10(np.maximum(mse.astype(np.float64), least))


def class_psnr(mse: Sequence[NDArray[np.float32]], members: NDArray[np.int64], classes: int) -> ClassPsnr:
    """Average the PSNR of each sub-image over its class.

    Args:
        mse: for each of M networks, the (N,) errors on the sub-images, RGB in [0, 1].
        members: (N,) class of each sub-image, 1 to K.
        classes: K.
    """
    counts = np.bincount(members - 1, minlength=classes)
    sums = [np.bincount(members - 1, weights=psnr_rgb(errors), minlength=classes) for errors in mse]
    exact = sum(int((errors <= 10 ** (-CEILING / 10)).sum()) for errors in mse)
    if exact:
        log.info("%d PSNRs of sub-images count as %g dB", exact, CEILING)
    with np.errstate(invalid="ignore"):
        return ClassPsnr(counts=counts, psnr=np.stack(sums) / counts)


def training_classes(
    difficulty: Scores, classes: Classes, *, path: str | os.PathLike[str]
) -> NDArray[np.int64]:
    """Class 1..K of each training sub-image; the classes have exactly the sizes that they are trained with.

    Raises:
        ValueError: ``classes``, read from ``path``, are those of other scores.
    """
    if classes.sizes.sum() != len(difficulty):
        raise ValueError(
            f"{path} splits {classes.sizes.sum():,} sub-images into classes, but there are "
            f"{len(difficulty):,} scores; remove it and let compute_thresholds write it again"
        )
    return assign_classes(difficulty.mse, classes.sizes)


def figure_3(panels: Mapping[str, ClassPsnr], methods: Sequence[str], *, label: str) -> Figure:
    """Draw the mean PSNR of each class, and what each method gains on the first (Figure 3).

    Args:
        panels: by title; each with one PSNR a class for every method.
        methods: labels, the first one that of the method to compare with.
        label: network, scale and data.

    Raises:
        ValueError: there is nothing to compare with.
    """
    if len(methods) < 2:
        raise ValueError(f"figures.figure3.methods is {list(methods)}; two methods or more are compared")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_INCHES, 3.1), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.03, h_pad=0.02)  # type: ignore[union-attr, call-arg]
        grid = figure.subplots(
            2, len(panels), sharex="col", sharey="row", height_ratios=(1.35, 1), squeeze=False
        )
        for (title, panel), (upper, lower) in zip(panels.items(), grid.T, strict=True):
            upper.set_title(f"{title} ({panel.counts.sum():,} sub-images)")
            _draw_psnr(upper, panel, methods)
            _draw_gain(lower, panel)
        grid[0, 0].set_ylabel("Mean PSNR (dB)")
        grid[1, 0].set_ylabel(f"Gain over\n{methods[0]} (dB)")
        grid[0, -1].legend(loc="upper right", handlelength=3.2)
        write_label(figure, label)
        figure.align_ylabels()
    return figure


def _draw_psnr(axes: Axes, panel: ClassPsnr, methods: Sequence[str]) -> None:
    k = np.arange(1, len(panel.counts) + 1)
    for number, (method, psnr) in enumerate(zip(methods, panel.psnr, strict=True)):
        axes.plot(k, psnr, label=method, **line_of(number))


def _draw_gain(axes: Axes, panel: ClassPsnr) -> None:
    k = np.arange(1, len(panel.counts) + 1)
    gains = panel.psnr[1:] - panel.psnr[0]
    apart = 0.6 / len(gains)  # side by side within the class
    for number, gain in enumerate(gains):
        style = line_of(number + 1)
        x = k + (number - (len(gains) - 1) / 2) * apart
        axes.vlines(x, 0, gain, style["color"], linewidth=1.0)
        axes.plot(x, gain, color=style["color"], marker=style["marker"], linestyle="none")
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xlim(0.4, len(k) + 0.6)
    if len(k) <= 2 * ONE_LINE:
        stagger = "\n" if len(k) > ONE_LINE else ""
        counts = [compact(count) for count in panel.counts.tolist()]
        axes.set_xticks(k, [f"{n}\n{stagger * (n % 2 == 0)}{text}" for n, text in enumerate(counts, 1)])
        axes.set_xlabel("Class $k$, easiest first; below it, sub-images")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.set_xlabel("Class $k$, easiest first")
