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
from bspa.system.reading import reading

PANELS = {
    "uniform": "L1,\nuniform samples",
    "inverse": "L1,\ninverse samples",
    "informative": "L1,\ninformative samples",
    "weighted": "Weighted L1,\nUDN's second step",
}
"""Losses that do not compare with one another, by phase; that of `uncertainty` may be negative: not drawn."""

OTHER_LOSSES = {"charbonnier": "Charbonnier", "mse": "MSE", "l1_frequency": "L1 and frequency"}
"""What stands for L1 in panels of their own, whose name has the loss after the phase."""

# The curves are running means over this part of a run's epochs.
SMOOTHED = 1 / 40


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """One method's run on a network, by their labels."""

    model: str
    method: str
    curve: pd.DataFrame
    """A line for each epoch: stage (a number), phase, step (its last, from the run's beginning), loss."""

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return int(self.curve["step"].iloc[-1])


def read_curve(paths: Sequence[str | os.PathLike[str]], phases: Sequence[str]) -> pd.DataFrame:
    """Join the journals of a run's stages: CSV files with columns step (within the stage) and loss."""
    stages, start = [], 0
    for number, (path, phase) in enumerate(zip(paths, phases, strict=True)):
        with reading(path, "the journal of a stage"):
            journal = pd.read_csv(path, dtype={"step": int, "loss": float})
            stages.append(journal.assign(stage=number, phase=phase, step=journal["step"] + start))
            start = stages[-1]["step"].iloc[-1]
    return pd.concat(stages)


def running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean of each value and its neighbours, ``width`` (odd) in all; fewer, evenly, towards the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    n = np.arange(len(values))
    reach = np.minimum(width // 2, np.minimum(n, n[::-1]))
    return (sums[n + reach + 1] - sums[n - reach]) / (2 * reach + 1)


def figure_training(runs: Sequence[Run], *, label: str) -> Figure:
    """Draw the loss of each method over its steps: a row for each kind of loss, a column for each network.

    Curves are running means over `SMOOTHED` of the longest run's epochs, within each stage.
    """
    models = list(dict.fromkeys(run.model for run in runs))
    methods = list(dict.fromkeys(run.method for run in runs))
    drawn = {phase for run in runs for phase in run.curve["phase"]}
    every = [*PANELS, *(f"{phase} {loss}" for loss in OTHER_LOSSES for phase in PANELS)]
    phases = [phase for phase in every if phase in drawn] or ["uniform"]
    width = 2 * (round(SMOOTHED * max(len(run.curve) for run in runs)) // 2) + 1
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
            name, _, loss = phase.partition(" ")
            row[0].set_ylabel(f"{PANELS[name].replace('L1', OTHER_LOSSES.get(loss, 'L1'))}\n(log scale)")
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
    for _, stage in run.curve[run.curve["phase"] == phase].groupby("stage"):
        smooth = running_mean(stage["loss"].to_numpy(np.float64), width)
        # The gap after each part keeps it apart from the next.
        steps += [*stage["step"], math.nan]
        losses += [*smooth, math.nan]
        settled.append(smooth[stage["step"] > run.steps / 40])
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
    # In a narrow range lie hardly any of the usual multiples of powers of ten.
    ticks = LogLocator(subs=(1, 1.2, 1.5, 2, 3, 4, 5, 6, 8), numticks=20)
    axes.yaxis.set_major_locator(MaxNLocator(5) if upper < 2 * lower else ticks)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
