"""What runs will take, before they are started: their steps, times the time of a step (`bspa.forecast.step_times`).

The settings are plain dicts, as the rule gives them.

A run: ``model``, ``scale``, ``method``, ``seed``; ``arch`` and ``options`` of its network; ``patch`` (HR
pixels), ``batch``, ``repeat`` and ``ema`` of its training; ``phases``, each with ``name``, ``loss`` and
``epochs``; ``attribution``, None or a dict of ``count``, ``steps``, ``batches`` and ``loss``.

A scoring of sub-images by a network: ``model``, ``scale``, ``method``; ``arch`` and ``options``; ``source``,
``grid`` with their ``size`` (HR pixels), ``batch``, ``precision``, and ``sub_images``: their number, or None.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bspa.forecast.step_times import StepTime, Work

Settings = Mapping[str, Any]
Times = Mapping[Work, StepTime]

Row = list[str | int | None]

PHASES = ("uniform", "inverse", "informative", "uncertainty", "weighted")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEstimate:
    """What a run takes."""

    model: str
    scale: int
    method: str
    seed: int
    epochs: Mapping[str, int]
    """By phase."""
    steps: Mapping[str, int]
    """Of the optimiser, by phase; empty where the number of photographs is not known."""
    gradients: int
    """Of a batch each, for all its attributions."""
    seconds: float | None
    """Of a device; None where the number of photographs is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringEstimate:
    """What scoring the sub-images of a source takes."""

    model: str
    scale: int
    method: str
    source: str
    sub_images: int | None
    seconds: float | None
    """Of a device; None where the number of sub-images is not known."""


def distinct_works(runs: Iterable[Settings], scorings: Iterable[Settings]) -> list[Work]:
    """Return each kind of step once."""
    works: list[Work] = []
    for run in runs:
        works += [_phase_work(run, phase) for phase in run["phases"]]
        works += [_attribution_work(run)] if run["attribution"] else []
    works += [_scoring_work(scoring) for scoring in scorings if scoring["sub_images"] is not None]
    return list(dict.fromkeys(works))


def estimate_run(run: Settings, images: int | None, times: Times) -> RunEstimate:
    """Add up a run.

    Args:
        run: see the module's docstring.
        images: number of training photographs, None where it is not known.
        times: of every kind of step in it; not looked at where ``images`` is None.
    """
    epochs: Counter[str] = Counter()
    for phase in run["phases"]:
        epochs[phase["name"]] += phase["epochs"]
    attribution = run["attribution"]
    gradients = attribution["count"] * attribution["steps"] * attribution["batches"] if attribution else 0
    steps: Counter[str] = Counter()
    seconds = None
    if images is not None:
        seconds = gradients * times[_attribution_work(run)].seconds if attribution else 0.0
        for phase in run["phases"]:
            number = phase["epochs"] * math.ceil(images * run["repeat"] / run["batch"])
            steps[phase["name"]] += number
            seconds += number * times[_phase_work(run, phase)].seconds
    return RunEstimate(
        model=run["model"],
        scale=run["scale"],
        method=run["method"],
        seed=run["seed"],
        epochs=epochs,
        steps=steps,
        gradients=gradients,
        seconds=seconds,
    )


def estimate_scoring(scoring: Settings, times: Times) -> ScoringEstimate:
    """Add up a scoring; see the module's docstring."""
    number, seconds = scoring["sub_images"], None
    if number is not None:
        seconds = number / scoring["batch"] * times[_scoring_work(scoring)].seconds
    return ScoringEstimate(
        model=scoring["model"],
        scale=scoring["scale"],
        method=scoring["method"],
        source=scoring["source"],
        sub_images=number,
        seconds=seconds,
    )


def _phase_work(run: Settings, phase: Settings) -> Work:
    return _work(run, "training", run["patch"], loss=phase["loss"], ema=run["ema"] is not None)


def _attribution_work(run: Settings) -> Work:
    return _work(run, "attribution", run["patch"], loss=run["attribution"]["loss"])


def _scoring_work(scoring: Settings) -> Work:
    return _work(scoring, "scoring", scoring["grid"]["size"], precision=scoring["precision"])


def _work(settings: Settings, task: str, patch: int, **more: Any) -> Work:
    return Work(
        task=task,
        arch=settings["arch"],
        options=tuple(sorted(settings["options"].items())),
        scale=settings["scale"],
        patch=patch,
        batch=settings["batch"],
        model=settings["model"],
        **more,
    )


# ---- as text -----------------------------------------------------------------


def plan_text(
    runs: Sequence[RunEstimate],
    scorings: Sequence[ScoringEstimate],
    times: Times,
    *,
    photographs: str,
    device: str,
    precision: str,
    missing: Sequence[str],
) -> str:
    """Lay out everything that is known.

    Args:
        runs: estimates of all runs.
        scorings: estimates of all scorings of sub-images.
        times: of the steps that were measured.
        photographs: how many there are to train on, in words.
        device: where the steps were measured.
        precision: of training; attribution is in float32, and scoring where nothing else is said.
        missing: manifests that would tell the numbers of sub-images that are not known.
    """
    parts = [
        f"Steps, measured now on {device}: training in {precision}, all else in float32 unless it says so",
        times_table(times),
        f"Runs, on {photographs}: optimiser steps by phase, gradients for attribution, device time",
        runs_table(runs),
    ]
    if scorings:
        parts += ["Scoring of sub-images", scorings_table(scorings)]
    parts += ["Sums", totals_table(runs, scorings)]
    parts.append(
        "Times are those of one job after the other, on a device that does nothing else, with nothing made\n"
        "before. Downloads, the preparation of images and evaluation are left out."
    )
    if missing:
        parts.append(
            "The sub-images marked ? are not in the sums. They are counted once these files are there:\n"
            f"snakemake {' '.join(missing)}"
        )
    return "\n\n".join(parts) + "\n"


def times_table(times: Times) -> str:
    """Lay out the steps that were measured."""
    rows: list[Row] = []
    for work, step in times.items():
        precision = "" if work.precision == "float32" else work.precision
        kind = ", ".join(filter(None, [work.task, work.loss, "ema" if work.ema else "", precision]))
        mark = " " if step.batch == work.batch else "*" if step.fits else "!"
        seconds = f"{duration(step.seconds)} {mark}"
        rows.append([work.model, f"x{work.scale}", work.patch, work.batch, kind, seconds])
    lines = [align(["network", "scale", "patch", "batch", "step of", "time  "], rows, "<<>><>")]
    if any(step.batch < work.batch and step.fits for work, step in times.items()):
        lines.append("* measured with fewer samples than the batch has, and taken in proportion")
    if not all(step.fits for step in times.values()):
        lines.append(
            "! THE BATCH DOES NOT FIT THE MEMORY OF THIS DEVICE; lower `batch` in that network's `training`"
        )
    return "\n".join(lines)


def runs_table(estimates: Sequence[RunEstimate]) -> str:
    """Lay out the runs, network by network: steps by phase, or epochs where steps are not known."""
    phases = [phase for phase in PHASES if any(phase in run.epochs for run in estimates)]
    rows: list[Row] = []
    models = list(dict.fromkeys(run.model for run in estimates))
    for run in sorted(estimates, key=lambda run: (models.index(run.model), run.scale)):
        numbers = run.steps or run.epochs
        row: Row = [run.model, f"x{run.scale}", run.method, str(run.seed)]
        row += [numbers.get(phase, 0) for phase in phases]
        rows.append([*row, run.gradients, duration(run.seconds)])
    header = ["network", "scale", "method", "seed", *phases, "gradients", "time"]
    return align(header, rows, "<<<>" + ">" * len(phases) + ">>")


def scorings_table(estimates: Sequence[ScoringEstimate]) -> str:
    """Lay out the scorings of sub-images."""
    rows: list[Row] = [
        [e.model, f"x{e.scale}", e.method, e.source, e.sub_images, duration(e.seconds)] for e in estimates
    ]
    return align(["network", "scale", "method", "source", "sub-images", "time"], rows, "<<<<>>")


def totals_table(runs: Sequence[RunEstimate], scorings: Sequence[ScoringEstimate]) -> str:
    """Lay out the sums: of each network's runs, of the scorings, of everything whose time is known."""
    rows: list[Row] = []
    for model in dict.fromkeys(run.model for run in runs):
        rows.append(_total(model, [run for run in runs if run.model == model], []))
    known = [scoring for scoring in scorings if scoring.seconds is not None]
    if known:
        rows.append(["scoring", "", "", "", _total("", [], known)[-1]])
    rows.append(_total("all", runs, known))
    return align(["network", "runs", "steps", "gradients", "time"], rows, "<>>>>")


def _total(name: str, runs: Sequence[RunEstimate], scorings: Sequence[ScoringEstimate]) -> Row:
    seconds = [run.seconds or 0.0 for run in runs] + [scoring.seconds or 0.0 for scoring in scorings]
    return [
        name,
        len(runs),
        sum(sum(run.steps.values()) for run in runs),
        sum(run.gradients for run in runs),
        duration(sum(seconds)),
    ]


def align(header: Sequence[str], rows: Iterable[Row], sides: str) -> str:
    """Lay out a table for a terminal.

    Args:
        header: names of the columns.
        rows: texts and whole numbers; None is a question mark and 0 a dash.
        sides: for each column, ``<`` or ``>``: where it is flush.
    """
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = (f"{text:{side}{width}}" for text, side, width in zip(row, sides, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])


def _cell(value: str | int | None) -> str:
    if value is None:
        return "?"
    return value if isinstance(value, str) else f"{value:,}" if value else "-"


def duration(seconds: float | None) -> str:
    """Write a time in its unit, with two digits or more: 38 ms, 4.1 s, 12 min, 2.3 h; ``?`` for None."""
    if seconds is None:
        return "?"
    # Each unit up to where its numbers, rounded, reach the next.
    for unit, length, last in (("ms", 1e-3, 999.5), ("s", 1.0, 59.5), ("min", 60.0, 59.5)):
        if seconds < last * length:
            return f"{_two_digits(seconds / length)} {unit}"
    return f"{_two_digits(seconds / 3600)} h"


def _two_digits(number: float) -> str:
    return f"{number:.1f}" if number < 9.95 else f"{number:,.0f}"
