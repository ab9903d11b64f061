"""Figure 7: PSNR on validation photographs against what training has cost so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bspa.figures.style import PAGE_INCHES, STYLE, line_of
from bspa.system.reading import reading
from bspa.training.costs import device_seconds


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ValidationCurve:
    """A method's validation on a network, S seeds at P points."""

    model: str
    """Label."""
    method: str
    """Label."""
    steps: NDArray[np.float64]
    """(P,) optimiser steps of the run; those of all seeds."""
    seconds: NDArray[np.float64]
    """(P,) device seconds of the run, attributions included; the mean over the seeds."""
    psnr: NDArray[np.float64]
    """(S, P) in dB on Y."""


def read_validation(runs: Sequence[Sequence[str]], *, model: str, method: str) -> ValidationCurve:
    """Join the journals of a method's runs.

    Args:
        runs: for each seed, the files of its run in order: journals of stages (CSV) and, after the stages
            that they follow, summaries of attributions (JSON). Where a run keeps an average of its weights,
            that is what counts.
        model, method: labels.

    Raises:
        ValueError: a run has no validation.
    """
    tables = [_read_run(files) for files in runs]
    points = min(map(len, tables))  # with match_seconds, the seeds differ in steps
    if not points:
        raise ValueError(f"{model}, {method}: no validation in {', '.join(runs[0])}")
    cut = [table.iloc[:points] for table in tables]
    return ValidationCurve(
        model=model,
        method=method,
        steps=cut[0]["step"].to_numpy(float),
        seconds=np.mean([table["device_seconds"] for table in cut], axis=0),
        psnr=np.array([table["psnr"] for table in cut], float),
    )


def _read_run(files: Sequence[str]) -> pd.DataFrame:
    """Return step, device_seconds and psnr at each validation of a run."""
    parts: list[pd.DataFrame] = []
    steps, seconds = 0, 0.0
    for file in files:
        if file.endswith(".json"):
            seconds += device_seconds([file])
            continue
        with reading(file, "the journal of a stage"):
            types = dict.fromkeys(["device_seconds", "psnr", "psnr_average"], float)
            journal = pd.read_csv(file, dtype=types)
            part = journal[["step", "device_seconds"]] + [steps, seconds]
            part = part.assign(psnr=journal["psnr_average"].fillna(journal["psnr"]))
            parts.append(part.dropna())
            steps += int(journal["step"].iloc[-1])
            seconds += float(journal["device_seconds"].iloc[-1])
    return pd.concat(parts, ignore_index=True)


def figure_7(curves: Sequence[ValidationCurve], *, label: str) -> Figure:
    """Draw PSNR against optimiser steps and device seconds: a row for each network.

    Lines are means over the seeds, bands reach from the worst seed to the best.

    Args:
        curves: of one or more networks.
        label: scale, seeds, and what is trained and validated on.
    """
    models = list(dict.fromkeys(curve.model for curve in curves))
    methods = list(dict.fromkeys(curve.method for curve in curves))
    legend_columns = max(1, int(PAGE_INCHES / (0.5 + 0.055 * max(map(len, methods)))))
    height = 0.6 + 0.13 * math.ceil(len(methods) / legend_columns) + 1.9 * len(models)
    several = max(len(curve.psnr) for curve in curves) > 1
    bands = ": mean and range of the seeds" if several else ""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_INCHES, height), layout="constrained")
        figure.suptitle(f"PSNR during training{bands}\n{label}")
        grid = figure.subplots(len(models), 2, squeeze=False, sharey="row")
        for (left, right), model in zip(grid, models, strict=True):
            for curve in (curve for curve in curves if curve.model == model):
                for axes, cost in ((left, curve.steps), (right, curve.seconds)):
                    _draw(axes, cost, curve, methods.index(curve.method))
            left.set_ylabel(f"{model}\nPSNR on Y (dB)")
            _show_the_settled_part(left, [curve for curve in curves if curve.model == model])
            for axes, name in ((left, "Optimiser steps"), (right, "Device seconds")):
                axes.set_xlim(left=0)
                axes.set_xlabel(name)
                axes.xaxis.set_major_locator(MaxNLocator(5))
                axes.xaxis.set_major_formatter("{x:,.0f}")
        lines = {line.get_label(): line for axes in grid.flat for line in axes.lines}
        handles = [lines[name] for name in methods]
        figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns, handlelength=3.2)
    return figure


def _draw(axes: Axes, cost: NDArray[np.float64], curve: ValidationCurve, number: int) -> None:
    look = line_of(number)
    axes.plot(cost, curve.psnr.mean(axis=0), label=curve.method, markevery=max(1, len(cost) // 8), **look)
    if len(curve.psnr) > 1:
        low, high = curve.psnr.min(axis=0), curve.psnr.max(axis=0)
        axes.fill_between(cost, low, high, color=look["color"], alpha=0.15, linewidth=0)


def _show_the_settled_part(axes: Axes, curves: Sequence[ValidationCurve]) -> None:
    """Leave out the steep beginning: the axis starts at the lowest PSNR after a fifth of the points."""
    settled = [curve.psnr[:, len(curve.steps) // 5 :] for curve in curves]
    low, high = min(float(part.min()) for part in settled), max(float(part.max()) for part in settled)
    margin = 0.05 * (high - low) or 0.1
    axes.set_ylim(low - margin, high + margin)
