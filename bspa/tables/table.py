"""Methods compared by their mean scores on benchmarks, beside what their training cost."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bspa.metrics.catalogue import METRICS
from bspa.tables.paper import read_paper
from bspa.tables.statistics import mean_interval

BICUBIC = "bicubic"
"""The model and the method of interpolation, which has seed 0 and no run."""
ROW = ["scale", "model", "method"]
COLUMN = ["benchmark", "metric"]
COSTS = ["parameters", "steps", "device_seconds"]
STATISTICS = ["mean", "std", "sem", "paper", "minus_paper", "gain", "gain_low", "gain_high"]

PathLike = str | os.PathLike[str]
Scores = dict[tuple[Any, ...], NDArray[np.float64]]
"""(seeds, images) by `ROW` and `COLUMN`; NaN where a metric has no value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table by scale, bicubic interpolation first."""

    name: str
    caption: str
    paper: int | None
    benchmarks: Sequence[str]
    metrics: Sequence[str]
    seeds: Sequence[int]
    baseline: str
    trained_on: str
    rows: pd.DataFrame
    """`ROW`, model_label, method_label, warning, `COSTS` (device_seconds: mean over seeds), ema, compared
    (whether there are gains over the baseline)."""
    cells: pd.DataFrame
    """`STATISTICS` by `ROW` and `COLUMN`; std and sem are those over seeds."""
    devices: Sequence[str]
    """What the runs computed on, and in which precision."""
    left_out: Mapping[tuple[int, str, str], Sequence[str]]
    """Images left out by scale, benchmark and metric, since a row has no value for them."""

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Benchmarks by metrics, in order."""
        return [(benchmark, metric) for benchmark in self.benchmarks for metric in self.metrics]


def read_table(
    evaluation_files: Sequence[PathLike],
    summary_files: Sequence[PathLike],
    *,
    table: str,
    caption: str,
    paper: int | None,
    benchmarks: Sequence[str],
    metrics: Sequence[str],
    seeds: Sequence[int],
    baseline: str,
    trained_on: str,
    evaluations: Sequence[Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]],
) -> Table:
    """Gather a table from evaluations and from summaries of training runs.

    Args:
        evaluation_files: CSV files with a line for each image: image, a column for each metric, key.
        summary_files: JSON files: parameters, steps, device_seconds, precision, device, key and, where the
            weights are a moving average, ema.
        table: its name, ``table4``.
        caption: one sentence.
        paper: number of the paper's table to compare with.
        benchmarks: columns, in order.
        metrics: columns within a benchmark, by names of `METRICS`.
        seeds: with which each network is trained.
        baseline: the method to compare others with.
        trained_on: name of the training photographs.
        evaluations: what each file evaluates: scale, model, model_label, method, method_label, seed,
            benchmark, kind of metric, and the key expected in it.
        runs: what each summary is of: scale, model, method, seed, the key expected in it, and warning: which
            part of the method has no effect, or None.

    Raises:
        ValueError: a file has another key than expected, lacks scores, or scores other images than another
            file of its benchmark; an evaluation or a summary is missing; the seeds of a method differ in
            parameters, steps or ema; the paper has no such table.
    """
    columns = [(benchmark, metric) for benchmark in benchmarks for metric in metrics]
    long, images = _read_scores(evaluation_files, evaluations, metrics)
    by_seed = {key: values.to_numpy() for key, values in long.groupby([*ROW, *COLUMN, "seed"])["score"]}
    labels = {_row(evaluation): evaluation for evaluation in evaluations}
    scales = list(dict.fromkeys(row[0] for row in labels))
    rows = sorted(labels, key=lambda row: (scales.index(row[0]), row[1] != BICUBIC))
    scores: Scores = {}
    for row in rows:
        for column in columns:
            keys = [(*row, *column, seed) for seed in ([0] if row[1] == BICUBIC else seeds)]
            for key in keys:
                if key not in by_seed:
                    raise ValueError(f"{_name(row)} seed {key[-1]}: no evaluation of {key[4]} on {key[3]}")
            scores[*row, *column] = np.stack([by_seed[key] for key in keys])
    left_out = _leave_out_unmeasured(scores, images, metrics)

    summaries = [_read_summary(path, run["key"]) for path, run in zip(summary_files, runs, strict=True)]
    warnings = {_row(run): run["warning"] for run in runs}
    published = read_paper(paper) if paper is not None else {}
    cells, listed = {}, []
    for row in rows:
        reference = (*row[:2], baseline)
        compared = len(seeds) > 1 and row[2] != baseline and reference in labels
        for cell in [(*row, *column) for column in columns]:
            cells[cell] = _statistics(scores[cell], published.get(cell, math.nan))
            if compared:
                cells[cell] |= _gain(scores[cell], scores[*reference, *cell[3:]])
        costs = [summary for summary, run in zip(summaries, runs, strict=True) if _row(run) == row]
        listed.append(
            dict(zip(ROW, row, strict=True))
            | {name: labels[row][name] for name in ("model_label", "method_label")}
            | {"warning": warnings.get(row) or "", "compared": compared, **_cost(row, costs, len(seeds))}
        )
    index = pd.MultiIndex.from_tuples(list(cells), names=[*ROW, *COLUMN])
    return Table(
        name=table,
        caption=caption,
        paper=paper,
        benchmarks=benchmarks,
        metrics=metrics,
        seeds=seeds,
        baseline=baseline,
        trained_on=trained_on,
        rows=pd.DataFrame(listed),
        cells=pd.DataFrame(list(cells.values()), index, STATISTICS, float),
        devices=list(dict.fromkeys(f"{of['device']} ({of['precision']})" for of in summaries)),
        left_out=left_out,
    )


def to_frame(table: Table) -> pd.DataFrame:
    """Return the columns of the table's CSV file, with every digit; empty where there is no value.

    scale, model, method, parameters, steps, device_seconds; {benchmark}_{metric}, the mean over images and
    seeds; {benchmark}_{metric}_std after a benchmark's metrics, for several seeds. Then, by benchmark and
    metric: _paper and _minus_paper, where the paper has any value; _sem, _gain, _gain_low and _gain_high, for
    several seeds (gains: and several methods).
    """
    several = len(table.seeds) > 1
    named: dict[str, tuple[str, str, str]] = {}
    for benchmark in table.benchmarks:
        named |= {f"{benchmark}_{metric}": ("mean", benchmark, metric) for metric in table.metrics}
        for metric in table.metrics if several else ():
            named[f"{benchmark}_{metric}_std"] = ("std", benchmark, metric)
    wide = table.cells.unstack(COLUMN).reindex(pd.MultiIndex.from_frame(table.rows[ROW]))
    groups = [
        (["paper", "minus_paper"], lambda column: wide["paper", *column].notna().any()),
        (["sem", *(STATISTICS[-3:] if table.rows["compared"].any() else [])], lambda column: several),
    ]
    for statistics, shown in groups:
        for column in filter(shown, table.columns):
            named |= {"_".join((*column, name)): (name, *column) for name in statistics}
    scores = pd.DataFrame({name: wide[place].to_numpy() for name, place in named.items()})
    return pd.concat([table.rows[[*ROW, *COSTS]], scores], axis="columns")


def _row(item: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(item[name] for name in ROW)


def _name(row: Sequence[Any]) -> str:
    return "{1} x{0} {2}".format(*row)


def _check_key(path: PathLike, found: str | None, expected: str) -> None:
    if found != expected:
        raise ValueError(
            f"{path}: made with other settings or code (key {found}, expected {expected}); "
            "run the same command again to remake it, or delete the file first"
        )


def _read_summary(path: PathLike, key: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    _check_key(path, summary.get("key"), key)
    return summary


def _read_scores(
    paths: Sequence[PathLike], evaluations: Sequence[Mapping[str, Any]], metrics: Sequence[str]
) -> tuple[pd.DataFrame, dict[tuple[int, str], list[str]]]:
    """Read all scores as one long table, and the images' names by scale and benchmark."""
    parts: list[pd.DataFrame] = []
    first: dict[tuple[int, str], tuple[PathLike, list[str]]] = {}
    for path, evaluation in zip(paths, evaluations, strict=True):
        names = [metric for metric in metrics if METRICS[metric].kind == evaluation["kind"]]
        scores = _read_evaluation(path, names, evaluation["key"])
        images = scores["image"].to_list()
        other, expected = first.setdefault((evaluation["scale"], evaluation["benchmark"]), (path, images))
        if images != expected:
            raise ValueError(f"{path} and {other} score different images; their means cannot be compared")
        place = {name: evaluation[name] for name in (*ROW, "seed", "benchmark")}
        parts.append(scores.melt("image", names, "metric", "score").assign(**place))
    return pd.concat(parts, ignore_index=True), {place: images for place, (_, images) in first.items()}


def _read_evaluation(path: PathLike, metrics: Sequence[str], key: str) -> pd.DataFrame:
    # An image may be called NA.
    blanks = {metric: [""] for metric in metrics}
    scores = pd.read_csv(path, dtype={"image": str, "key": str}, keep_default_na=False, na_values=blanks)
    keys = scores["key"].unique() if "key" in scores else [None]
    _check_key(path, next((found for found in keys if found != key), key), key)
    if not {"image", *metrics} <= set(scores) or scores.empty:
        needed = ", ".join(["image", *metrics])
        raise ValueError(
            f"{path}: expected a line for each image with {needed}; delete it and evaluate again"
        )
    for metric in metrics:
        missing = scores["image"][scores[metric].isna()]
        if len(missing) and METRICS[metric].kind == "quality":
            raise ValueError(f"{path}: image {missing.iloc[0]} has no {metric}; delete it and evaluate again")
    return scores.astype(dict.fromkeys(metrics, float))


def _leave_out_unmeasured(
    scores: Scores, images: Mapping[tuple[int, str], Sequence[str]], metrics: Sequence[str]
) -> dict[tuple[int, str, str], list[str]]:
    """Keep the images that have a value in every row, so that means compare; name those left out.

    A row without any value does not count: its metric was not computed.
    """
    left_out = {}
    for (scale, benchmark), names in images.items():
        for metric in metrics:
            cells = [cell for cell in scores if (cell[0], *cell[3:]) == (scale, benchmark, metric)]
            missing = np.isnan(np.concatenate([scores[cell] for cell in cells]))
            lacking = missing[~missing.all(axis=1)].any(axis=0)
            if lacking.any() and not lacking.all():
                left_out[scale, benchmark, metric] = [
                    name for name, gone in zip(names, lacking, strict=True) if gone
                ]
                scores |= {cell: scores[cell][:, ~lacking] for cell in cells}
    return left_out


def _statistics(values: NDArray[np.float64], paper: float) -> dict[str, float]:
    """Statistics of (seeds, images); no deviation of one seed or of an infinite mean."""
    mean, means = float(values.mean()), values.mean(axis=1)
    std = float(means.std(ddof=1)) if len(means) > 1 and np.isfinite(means).all() else math.nan
    sem = std / math.sqrt(len(means))
    return {"mean": mean, "std": std, "sem": sem, "paper": paper, "minus_paper": mean - paper}


def _gain(values: NDArray[np.float64], baseline: NDArray[np.float64]) -> dict[str, float]:
    """Mean difference to the baseline, paired by seed and image, and its 95 % interval."""
    with np.errstate(invalid="ignore"):  # two infinite PSNRs have no difference
        differences = values - baseline
        mean = float(differences.mean())
    low, high = mean_interval(differences)
    return {"gain": mean, "gain_low": low, "gain_high": high}


def _cost(row: Sequence[Any], summaries: Sequence[Mapping[str, Any]], seeds: int) -> dict[str, Any]:
    """What a run costs, and its ema."""
    if row[1] == BICUBIC:
        return {"parameters": 0, "steps": 0, "device_seconds": 0.0, "ema": None}
    if len(summaries) != seeds:
        raise ValueError(
            f"{_name(row)}: {len(summaries)} summaries of runs, expected one for each of {seeds} seeds"
        )
    kinds = {(summary["parameters"], summary["steps"], summary.get("ema")) for summary in summaries}
    if len(kinds) > 1:
        raise ValueError(
            f"{_name(row)}: runs differ in (parameters, steps, ema) and have no mean: "
            f"{sorted(kinds, key=str)}"
        )
    parameters, steps, ema = kinds.pop()
    seconds = fmean(summary["device_seconds"] for summary in summaries)
    return {"parameters": parameters, "steps": steps, "device_seconds": seconds, "ema": ema}
