"""The course of training: each method's loss, over all stages of its run."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from bspa.figures.style import COLUMN_INCHES, GRAY, PAGE_INCHES, STYLE, line_of, write_label

COLUMNS = ("step", "loss")


class Look(NamedTuple):
    """How a phase is named, and how drawn in the strips below the curves."""

    label: str
    filled: bool = False
    hatch: str = ""


PHASES = {
    "uniform": Look("uniform sampling"),
    "inverse": Look("inverse sampling", filled=True),
    "informative": Look("informative sampling", hatch="////////"),
    "uncertainty": Look("uncertainty (not drawn)", hatch="........"),
    "weighted": Look("weighted L1", hatch="\\\\\\\\\\\\\\\\"),
}
# Its loss, of grey levels over their uncertainty plus a penalty, may be negative and compares with no other.
HIDDEN = "uncertainty"
# The curves are running means over this part of a run's epochs.
SMOOTHED = 1 / 40


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stage:
    """A stage of a run; steps are counted from the run's beginning."""

    phase: str
    start: int
    """Steps before the stage."""
    step: NDArray[np.int64]
    """(n,) last step of each epoch."""
    loss: NDArray[np.float64]
    """(n,) mean over the epoch."""

    @property
    def stop(self) -> int:
        """Steps at the stage's end."""
        return int(self.step[-1])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """One method's run on a network."""

    network: str
    """Its label."""
    method: str
    """Its label."""
    stages: list[Stage] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs of all stages."""
        return sum(len(stage.step) for stage in self.stages)


def read_runs(
    paths: Sequence[str | os.PathLike[str]], entries: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Run]]:
    """Join the journals of each run's stages.

    Args:
        paths: CSV files with columns step (within the stage) and loss; those of a run in its order.
        entries: what each is of: model, method, model_label, method_label, phase.

    Returns:
        The runs by model, then by method, in the order of the entries.

    Raises:
        ValueError: a file is no journal, or a phase is unknown.
    """
    networks: dict[str, dict[str, Run]] = {}
    for path, entry in zip(paths, entries, strict=True):
        if entry["phase"] not in PHASES:
            raise ValueError(f"{path}: phase {entry['phase']!r} is none of {', '.join(PHASES)}")
        runs = networks.setdefault(entry["model"], {})
        run = runs.setdefault(
            entry["method"], Run(network=entry["model_label"], method=entry["method_label"])
        )
        step, loss = _read_journal(path)
        start = run.stages[-1].stop if run.stages else 0
        run.stages.append(Stage(phase=entry["phase"], start=start, step=start + step, loss=loss))
    return networks


def _read_journal(path: str | os.PathLike[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    try:
        table = pd.read_csv(path)
        step, loss = (table[column].to_numpy(np.float64) for column in COLUMNS)
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


def figure_training(networks: Mapping[str, Mapping[str, Run]], *, label: str) -> Figure:
    """Draw the loss of each method over its steps, a panel for each network.

    Curves are running means over `SMOOTHED` of the longest run's epochs, within each stage. Below each panel,
    a strip for each method shows which steps were taken in which phase.

    Args:
        networks: see `read_runs`.
        label: scale, seed and data.
    """
    methods = {name: run.method for runs in networks.values() for name, run in runs.items()}
    epochs = max(run.epochs for runs in networks.values() for run in runs.values())
    width = 2 * (round(SMOOTHED * epochs) // 2) + 1
    columns = 2 if len(networks) == 4 else min(3, len(networks))
    rows = math.ceil(len(networks) / columns)
    strips = 0.09 * len(methods) + 0.05
    with mpl.rc_context({**STYLE, "legend.fontsize": 6}):
        legend = _legend(networks, methods)
        inches = COLUMN_INCHES if columns == 1 else PAGE_INCHES
        longest = max(len(str(handle.get_label())) for handle in legend)
        legend_columns = max(1, int(inches / (0.45 + 0.052 * longest)))
        height = 0.45 + 0.13 * math.ceil(len(legend) / legend_columns) + rows * (1.85 + strips)
        figure = Figure(figsize=(inches, height), layout="constrained")
        write_label(figure, label)
        grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1.4, strips] * rows)
        for number, runs in enumerate(networks.values()):
            row, column = divmod(number, columns)
            upper, lower = grid[2 * row, column], grid[2 * row + 1, column]
            upper.set_title(next(iter(runs.values())).network)
            _draw_losses(upper, runs, list(methods), width)
            _draw_phases(lower, runs, list(methods))
            if column == 0:
                upper.set_ylabel("Training loss" + (f"\n(mean of {width} epochs)" if width > 1 else ""))
                lower.set_yticks(range(len(methods)), list(methods.values()), fontsize=5)
            if number >= len(networks) - columns:
                lower.set_xlabel("Optimiser steps")
        for number in range(len(networks), rows * columns):
            row, column = divmod(number, columns)
            grid[2 * row, column].remove()
            grid[2 * row + 1, column].remove()
        figure.legend(handles=legend, loc="outside lower center", ncols=legend_columns, handlelength=3.2)
    return figure


def _draw_losses(axes: Axes, runs: Mapping[str, Run], methods: Sequence[str], width: int) -> None:
    settled = []
    for name, run in runs.items():
        number = methods.index(name)
        step = np.concatenate([stage.step for stage in run.stages])
        # One line for the whole run; nan, which is not drawn, for what is hidden.
        loss = np.concatenate(
            [
                running_mean(stage.loss, width) * (np.nan if stage.phase == HIDDEN else 1.0)
                for stage in run.stages
            ]
        )
        apart = max(1, len(step) // 8)
        first = apart * (number + 1) // (len(methods) + 1)  # markers of several lines lie side by side
        axes.plot(step, loss, **line_of(number), markevery=(first, apart) if width > 1 else None)
        settled.append(loss[len(loss) // 40 :])
    shown = np.concatenate(settled)
    axes.set_yscale("log")
    axes.set_ylim(0.93 * np.nanmin(shown), 1.07 * np.nanmax(shown))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7), numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _set_steps(axes, runs)
    axes.tick_params(labelbottom=False)


def _draw_phases(axes: Axes, runs: Mapping[str, Run], methods: Sequence[str]) -> None:
    for name, run in runs.items():
        number = methods.index(name)
        for stage in run.stages:
            span = (stage.start, stage.stop - stage.start)
            axes.broken_barh([span], (number - 0.35, 0.7), **_box(stage.phase, line_of(number)["color"]))
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.set_yticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _set_steps(axes, runs)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))


def _set_steps(axes: Axes, runs: Mapping[str, Run]) -> None:
    axes.set_xlim(0, 1.02 * max(run.stages[-1].stop for run in runs.values()))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _legend(networks: Mapping[str, Mapping[str, Run]], methods: Mapping[str, str]) -> list[Artist]:
    used = {stage.phase for runs in networks.values() for run in runs.values() for stage in run.stages}
    lines = [Line2D([], [], label=label, **line_of(number)) for number, label in enumerate(methods.values())]
    boxes = [Patch(label=PHASES[phase].label, **_box(phase, GRAY)) for phase in PHASES if phase in used]
    return [*lines, *boxes]


def _box(phase: str, colour: str) -> dict[str, Any]:
    look = PHASES[phase]
    return {
        "facecolor": colour if look.filled else "white",
        "edgecolor": colour,
        "hatch": look.hatch,
        "linewidth": 0.4,
    }
