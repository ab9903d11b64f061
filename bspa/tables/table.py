"""Tables: methods compared by their mean scores on benchmarks, beside what their training cost."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bspa.tables.paper import read_paper
from bspa.tables.statistics import mean_interval

BICUBIC = "bicubic"
OPTIONAL = ("niqe", "lpips")
"""Metrics that an evaluation may leave empty, since they need what not everyone has."""

PathLike = str | os.PathLike[str]
Key = tuple[int, str, str]
"""Scale, model, method."""
Column = tuple[str, str]
"""Benchmark and metric."""
Scores = dict[Column, NDArray[np.float64]]
"""(seeds, images), or (images,) of one seed; nan where a metric was not computed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """Mean difference of a method's score to the baseline's, and its 95 % interval."""

    mean: float
    low: float
    high: float


NO_GAIN = Gain(mean=math.nan, low=math.nan, high=math.nan)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A row of the table: a network trained by a method, or bicubic interpolation."""

    scale: int
    model: str
    method: str
    model_label: str
    method_label: str
    parameters: int
    steps: int
    """Of the optimiser, in each run."""
    device_seconds: float
    """That a run computed; the mean over seeds."""
    ema: float | None
    """Decay of the moving average that the weights are, if they are one."""
    scores: Scores
    paper: Mapping[Column, float]
    """The scores that the paper reports."""
    gains: Mapping[Column, Gain]
    """Over the baseline; none for itself, for bicubic interpolation, and where there is one seed."""

    def mean(self, column: Column) -> float:
        """Mean over images and seeds."""
        return float(self.scores[column].mean())

    def std(self, column: Column) -> float:
        """Sample standard deviation of the seeds' means; nan for one seed or an infinite mean."""
        means = self.scores[column].mean(axis=1)
        return float(means.std(ddof=1)) if len(means) > 1 and np.isfinite(means).all() else math.nan

    def sem(self, column: Column) -> float:
        """Standard error of the mean over seeds; nan where `std` is."""
        return self.std(column) / math.sqrt(len(self.scores[column]))

    def minus_paper(self, column: Column) -> float:
        """Difference of the mean to what the paper reports; nan where it reports none."""
        return self.mean(column) - self.paper.get(column, math.nan)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Entries grouped by scale, bicubic interpolation first in each."""

    name: str
    caption: str
    benchmarks: Sequence[str]
    metrics: Sequence[str]
    seeds: Sequence[int]
    baseline: str
    """The method that the others are compared with."""
    trained_on: str
    """Name of the training photographs."""
    paper: int | None
    """The paper's table of the same scores."""
    entries: Sequence[Entry]
    devices: Sequence[str]
    """What the runs computed on, and in what precision."""
    unmeasured: Mapping[tuple[int, Column], Sequence[str]]
    """Images that a column leaves out at a scale, since its metric has no value for one of the entries."""

    @property
    def columns(self) -> list[Column]:
        """Benchmarks by metrics, in the order that they stand in."""
        return [(benchmark, metric) for benchmark in self.benchmarks for metric in self.metrics]

    @property
    def has_gains(self) -> bool:
        """Whether any entry is compared with the baseline."""
        return any(entry.gains for entry in self.entries)


def read_table(
    evaluation_files: Sequence[PathLike],
    summary_files: Sequence[PathLike],
    *,
    table: str,
    caption: str,
    benchmarks: Sequence[str],
    metrics: Sequence[str],
    seeds: Sequence[int],
    baseline: str,
    trained_on: str,
    evaluations: Sequence[Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]],
    paper: int | None = None,
) -> Table:
    """Gather a table from evaluations and from summaries of training runs.

    Args:
        evaluation_files: CSV files with a row for each image: image, and columns named as their metrics.
        summary_files: JSON files of runs: parameters, steps, device_seconds, precision, device and, where the
            weights are a moving average, ema.
        table: its name.
        caption: one sentence.
        benchmarks: columns, in order.
        metrics: columns within a benchmark: psnr, ssim, niqe, lpips.
        seeds: that each network is trained with.
        baseline: the method that others are compared with.
        trained_on: name of the training photographs.
        evaluations: what each file is of: scale, model, method, seed, benchmark, metrics; for print, label
            (the model's) and method_label, the names where they are not given. The model `BICUBIC` is no
            network.
        runs: what each summary is of: scale, model, method, seed.
        paper: number of the paper's table to hold the scores against.

    Raises:
        ValueError: a CSV file lacks scores, or scores other images than another of its benchmark; an
            evaluation or a summary is missing; runs that differ by seed alone differ in parameters, steps or
            ema; the paper has no such table.
    """
    columns = [(benchmark, metric) for benchmark in benchmarks for metric in metrics]
    named = {_key(row): row for row in evaluations}
    by_seed, images = _read_scores(evaluation_files, evaluations)
    scores = {
        key: _stack(key, of_seeds, columns, list(of_seeds) if key[1] == BICUBIC else seeds)
        for key, of_seeds in by_seed.items()
    }
    unmeasured = _leave_out_unmeasured(scores, images)
    costs: dict[Key, list[dict[str, Any]]] = {key: [] for key in scores}
    for path, run in zip(summary_files, runs, strict=True):
        costs[_key(run)].append(json.loads(Path(path).read_text(encoding="utf-8")))
    published = read_paper(paper) if paper is not None else {}

    entries = [
        Entry(
            scale=key[0],
            model=key[1],
            method=key[2],
            model_label=named[key].get("label", key[1]),
            method_label=named[key].get("method_label", key[2]),
            **_cost(key, costs[key], len(seeds)),
            scores=scores[key],
            paper={column: published[*key, *column] for column in columns if (*key, *column) in published},
            gains=_gains(key, scores, baseline) if len(seeds) > 1 else {},
        )
        for key in scores
    ]
    scales = list(dict.fromkeys(row["scale"] for row in evaluations))
    entries.sort(key=lambda entry: (scales.index(entry.scale), entry.model != BICUBIC))
    return Table(
        name=table,
        caption=caption,
        benchmarks=benchmarks,
        metrics=metrics,
        seeds=seeds,
        baseline=baseline,
        trained_on=trained_on,
        paper=paper,
        entries=entries,
        devices=list(
            dict.fromkeys(f"{cost['device']} ({cost['precision']})" for of in costs.values() for cost in of)
        ),
        unmeasured=unmeasured,
    )


def to_frame(table: Table) -> pd.DataFrame:
    """Return the columns of the table's CSV file, every digit kept; empty where nothing was computed.

    scale, model, method, parameters, steps, device_seconds; then {benchmark}_{metric} for each benchmark and
    metric, and after a benchmark's metrics, where there are several seeds, {benchmark}_{metric}_std.
    Then {benchmark}_{metric} with what there is of: _paper and _minus_paper, where the paper reports any;
    _sem, _gain, _gain_low and _gain_high, where there are several seeds (gains: and several methods).
    """
    makers = (_documented, _against_paper, _over_seeds)
    return pd.DataFrame(
        [dict(cell for make in makers for cell in make(table, entry)) for entry in table.entries]
    )


def _documented(table: Table, entry: Entry) -> Iterator[tuple[str, Any]]:
    for name in ("scale", "model", "method", "parameters", "steps", "device_seconds"):
        yield name, getattr(entry, name)
    for benchmark in table.benchmarks:
        for metric in table.metrics:
            yield f"{benchmark}_{metric}", entry.mean((benchmark, metric))
        for metric in table.metrics if len(table.seeds) > 1 else ():
            yield f"{benchmark}_{metric}_std", entry.std((benchmark, metric))


def _against_paper(table: Table, entry: Entry) -> Iterator[tuple[str, float]]:
    for column in table.columns:
        if any(column in other.paper for other in table.entries):
            yield "_".join((*column, "paper")), entry.paper.get(column, math.nan)
            yield "_".join((*column, "minus_paper")), entry.minus_paper(column)


def _over_seeds(table: Table, entry: Entry) -> Iterator[tuple[str, float]]:
    for column in table.columns if len(table.seeds) > 1 else ():
        yield "_".join((*column, "sem")), entry.sem(column)
        if table.has_gains:
            gain = entry.gains.get(column, NO_GAIN)
            yield "_".join((*column, "gain")), gain.mean
            yield "_".join((*column, "gain_low")), gain.low
            yield "_".join((*column, "gain_high")), gain.high


def _key(row: Mapping[str, Any]) -> Key:
    return row["scale"], row["model"], row["method"]


def _name(key: Key) -> str:
    scale, model, method = key
    return f"{model} x{scale} {method}"


def _read_scores(
    paths: Sequence[PathLike], rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[Key, dict[int, Scores]], dict[tuple[int, str], list[str]]]:
    """Scores by entry and seed, in the order of ``rows``; names of the images by scale and benchmark."""
    scores: dict[Key, dict[int, Scores]] = {}
    images: dict[tuple[int, str], list[str]] = {}
    first: dict[tuple[int, str], PathLike] = {}
    for path, row in zip(paths, rows, strict=True):
        table = _read_evaluation(path, row["metrics"])
        where = row["scale"], row["benchmark"]
        other = first.setdefault(where, path)
        if images.setdefault(where, list(table["image"])) != list(table["image"]):
            raise ValueError(f"{path} and {other} score different images; their means cannot be compared")
        of_seed = scores.setdefault(_key(row), {}).setdefault(row["seed"], {})
        for metric in row["metrics"]:
            assert (row["benchmark"], metric) not in of_seed, row
            of_seed[row["benchmark"], metric] = table[metric].to_numpy(np.float64)
    return scores, images


def _read_evaluation(path: PathLike, metrics: Sequence[str]) -> pd.DataFrame:
    # An image may be called NA.
    blanks = {metric: [""] for metric in metrics}
    table = pd.read_csv(path, dtype={"image": str}, keep_default_na=False, na_values=blanks)
    if not {"image", *metrics} <= set(table) or table.empty:
        needed = ", ".join(["image", *metrics])
        raise ValueError(f"{path}: a row for each image with {needed} is needed; evaluate again")
    for metric in metrics:
        missing = table["image"][table[metric].isna()]
        if len(missing) and metric not in OPTIONAL:
            raise ValueError(f"{path}: image {missing.iloc[0]} has no {metric}; evaluate again")
    return table


def _stack(
    key: Key, of_seeds: Mapping[int, Scores], columns: Sequence[Column], seeds: Sequence[int]
) -> Scores:
    """Scores (seeds, images) of each column."""
    for seed in seeds:
        for benchmark, metric in columns:
            if (benchmark, metric) not in of_seeds.get(seed, {}):
                raise ValueError(f"{_name(key)} seed {seed}: no evaluation of {metric} on {benchmark}")
    return {column: np.stack([of_seeds[seed][column] for seed in seeds]) for column in columns}


def _leave_out_unmeasured(
    scores: Mapping[Key, Scores], images: Mapping[tuple[int, str], Sequence[str]]
) -> dict[tuple[int, Column], list[str]]:
    """Keep of each column and scale the images that all entries have a value for, so that means compare.

    An entry without any value does not count: its metric was not computed.

    Returns:
        The names of what was left out.
    """
    left_out = {}
    for (scale, benchmark), names in images.items():
        entries = [of_key for key, of_key in scores.items() if key[0] == scale]
        for column in [column for column in entries[0] if column[0] == benchmark]:
            rows = np.concatenate([of_key[column] for of_key in entries])
            missing = np.isnan(rows)
            lacking = missing[~missing.all(axis=1)].any(axis=0)
            if lacking.any() and not lacking.all():
                left_out[scale, column] = [name for name, gone in zip(names, lacking, strict=True) if gone]
                for of_key in entries:
                    of_key[column] = of_key[column][:, ~lacking]
    return left_out


def _cost(key: Key, costs: Sequence[Mapping[str, Any]], seeds: int) -> dict[str, Any]:
    """What a run costs: parameters, steps, device_seconds (the mean over seeds); and its ema."""
    if key[1] == BICUBIC:
        return {"parameters": 0, "steps": 0, "device_seconds": 0.0, "ema": None}
    if len(costs) != seeds:
        raise ValueError(f"{_name(key)}: {seeds} seeds are evaluated, but {len(costs)} runs are summarised")
    kinds = {(cost["parameters"], cost["steps"], cost.get("ema")) for cost in costs}
    if len(kinds) > 1:
        raise ValueError(
            f"{_name(key)}: its runs differ in (parameters, steps, ema): {sorted(kinds, key=str)}; "
            "unlike runs have no mean"
        )
    ((parameters, steps, ema),) = kinds
    seconds = fmean(cost["device_seconds"] for cost in costs)
    return {"parameters": parameters, "steps": steps, "device_seconds": seconds, "ema": ema}


def _gains(key: Key, scores: Mapping[Key, Scores], baseline: str) -> dict[Column, Gain]:
    """Differences to the baseline method of the same scale and model, paired by seed and image."""
    scale, model, method = key
    other = scores.get((scale, model, baseline))
    if method == baseline or other is None:
        return {}
    gains = {}
    for column, values in scores[key].items():
        with np.errstate(invalid="ignore"):  # two infinite PSNRs have no difference
            differences = values - other[column]
            mean = float(differences.mean())
        low, high = mean_interval(differences)
        gains[column] = Gain(mean=mean, low=low, high=high)
    return gains
