"""The course of training: each method's loss, over all stages of its run."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from bspa.figures.style import COLUMN_INCHES, PAGE_INCHES, STYLE, line_of

PANELS = {
    "uniform": "L1,\nuniform samples",
    "inverse": "L1,\ninverse samples",
    "informative": "L1,\ninformative samples",
    "weighted": "Weighted L1,\nUDN's second step",
}
"""Losses that do not compare with one another, by phase."""

HIDDEN = "uncertainty"
"""The phase that is not drawn: its loss may be negative, and compares with no other."""

# The curves are running means over this part of a run's epochs.
SMOOTHED = 1 / 40


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """The loss of one stage."""

    phase: str
    step: NDArray[np.int64]
    """(n,) last step of each epoch, counted from the run's beginning."""
    loss: NDArray[np.float64]
    """(n,) mean over the epoch."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """One method's run on a network."""

    model: str
    """Its label."""
    method: str
    """Its label."""
    curves: Sequence[Curve]
    """Its stages, in order."""

    @property
    def epochs(self) -> int:
        """Epochs of all stages."""
        return sum(len(curve.step) for curve in self.curves)

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return int(self.curves[-1].step[-1])


def read_curves(paths: Sequence[str | os.PathLike[str]], phases: Sequence[str]) -> list[Curve]:
    """Join the journals of a run's stages.

    Args:
        paths: CSV files with columns step (within the stage) and loss, in the run's order.
        phases: what each stage is.

    Raises:
        ValueError: a file is no journal, or a phase is unknown.
    """
    curves: list[Curve] = []
    for path, phase in zip(paths, phases, strict=True):
        if phase not in {*PANELS, HIDDEN}:
            raise ValueError(f"{path}: phase {phase!r}; allowed: {', '.join([*PANELS, HIDDEN])}")
        step, loss = _read_journal(path)
        start = curves[-1].step[-1] if curves else 0
        curves.append(Curve(phase=phase, step=start + step, loss=loss))
    return curves


def _read_journal(path: str | os.PathLike[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    try:
        table = pd.read_csv(path)
        step, loss = (table[column].to_numpy(np.float64) for column in ("step", "loss"))
        if not len(table) or not np.isfinite([step, loss]).all() or (np.diff(step, prepend=0) <= 0).any():
            raise ValueError("it has no rows, numbers that are not finite, or steps that do not grow")
    except (KeyError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise ValueError(f"{path} is not the journal of a training stage ({error})") from error
    return step.astype(np.int64), loss


def running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean of each value and its neighbours, ``width`` (odd) in all; fewer, evenly, towards the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    n = np.arange(len(values))
    reach = np.minimum(width // 2, np.minimum(n, n[::-1]))
    return (sums[n + reach + 1] - sums[n - reach]) / (2 * reach + 1)


def figure_training(runs: Sequence[Run], *, label: str) -> Figure:
    """Draw the loss of each method over its steps: a row for each kind of loss, a column for each network.

    Curves are running means over `SMOOTHED` of the longest run's epochs, within each stage.

    Args:
        runs: of one or more networks.
        label: scale, seed and data.
    """
    models = list(dict.fromkeys(run.model for run in runs))
    methods = list(dict.fromkeys(run.method for run in runs))
    drawn = {curve.phase for run in runs for curve in run.curves}
    phases = [phase for phase in PANELS if phase in drawn] or ["uniform"]
    width = 2 * (round(SMOOTHED * max(run.epochs for run in runs)) // 2) + 1
    inches = COLUMN_INCHES if len(models) == 1 else PAGE_INCHES
    legend_columns = max(1, int(inches / (0.5 + 0.055 * max(map(len, methods)))))
    height = 0.75 + 0.13 * math.ceil(len(methods) / legend_columns) + 1.15 * len(phases)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(inches, height), layout="constrained")
        figure.suptitle(f"Training loss{f', mean of {width} epochs' if width > 1 else ''}\n{label}")
        grid = figure.subplots(len(phases), len(models), squeeze=False, sharex="col", sharey="row")
        for axes, model in zip(grid[0], models, strict=True):
            axes.set_title(model)
        for row, phase in zip(grid, phases, strict=True):
            row[0].set_ylabel(f"{PANELS[phase]}\n(log scale)")
            settled = []
            for run in runs:
                axes = row[models.index(run.model)]
                settled += _draw_run(axes, run, phase, width, methods.index(run.method))
            _set_scale(row[0], np.concatenate([[], *settled]))
        for axes, model in zip(grid[-1], models, strict=True):
            steps = max(run.steps for run in runs if run.model == model)
            axes.set_xlim(0, 1.02 * steps)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.set_xlabel("Optimiser steps")
        lines = {line.get_label(): line for axes in grid.flat for line in axes.lines}
        handles = [lines[name] for name in methods if name in lines]
        figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns, handlelength=3.2)
        figure.align_ylabels()
    return figure


def _draw_run(axes: Axes, run: Run, phase: str, width: int, number: int) -> list[NDArray[np.float64]]:
    """Draw the parts of a run that a panel is for; return their losses after the steep beginning."""
    steps, losses, settled = [], [], []
    beginning = run.steps / 40
    for curve in run.curves:
        if curve.phase == phase:
            smooth = running_mean(curve.loss, width)
            # The gap after each part keeps it apart from the next.
            steps += [*curve.step.tolist(), math.nan]
            losses += [*smooth.tolist(), math.nan]
            settled.append(smooth[curve.step > beginning])
    if steps:
        apart = max(1, len(steps) // 8)
        first = (number * apart // 4) % apart  # markers of several lines lie side by side
        axes.plot(steps, losses, label=run.method, **line_of(number), markevery=(first, apart))
    return settled


def _set_scale(axes: Axes, shown: NDArray[np.float64]) -> None:
    axes.set_yscale("log")
    if shown.size:
        axes.set_ylim(0.93 * shown.min(), 1.07 * shown.max())
    lower, upper = axes.get_ylim()
    if upper < 2 * lower:  # hardly any of the usual multiples of powers of ten lie in it
        axes.yaxis.set_major_locator(MaxNLocator(5))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 3, 4, 5, 6, 8), numticks=20))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
