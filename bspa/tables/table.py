"""Methods compared by their mean scores on benchmarks, beside what their training cost."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bspa.metrics.catalogue import METRICS
from bspa.tables.statistics import detectable_difference, holm, mean_interval, p_value

BICUBIC = "bicubic"
"""The model and the method of interpolation, which has seed 0 and no run."""
ROW = ["scale", "model", "method"]
COLUMN = ["benchmark", "metric"]
COSTS = ["parameters", "steps", "device_seconds", "attribution_seconds"]
GAIN = ["gain", "gain_low", "gain_high", "p", "p_holm"]
STATISTICS = ["mean", "std", "sem", "paper", "minus_paper", *GAIN]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table by scale, bicubic interpolation first."""

    name: str
    caption: str
    paper: int | None
    """The paper's table to compare with."""
    benchmarks: Sequence[str]
    metrics: Sequence[str]
    seeds: Sequence[int]
    baseline: str
    """The method to compare others with."""
    trained_on: str
    degradation: str
    """How LR images are degraded, in words; empty: not at all."""
    rows: pd.DataFrame
    """`ROW`, model_label, method_label, warning, `COSTS` (means over seeds), weights (which are scored, in
    words), compared (whether there are gains over the baseline)."""
    cells: pd.DataFrame
    """`STATISTICS` by `ROW` and `COLUMN`; std and sem are those over seeds; p is that of a gain, p_holm the
    same corrected for all gains of the table."""
    detectable: Mapping[tuple[str, str], float]
    """The smallest gain that the design finds by `COLUMN`: see `detectable_difference`; NaN if unknown."""
    devices: Sequence[str]
    """What the runs computed on, and in which precision."""
    left_out: Mapping[tuple[Any, ...], Sequence[str]]
    """Images left out by scale, benchmark and metric, since a row has no value for them."""
    origin: str = ""
    """What it came from, in words."""


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
    degradation: str = "",
) -> Table:
    """Gather a table from evaluations and from summaries of training runs, in the plan's order of both.

    Args:
        evaluation_files: CSV files with a line for each image: image, a column for each metric, key.
        summary_files: JSON files: `COSTS`, precision, device, weights (in words) and key.
        table: its name, ``table4``; for what follows see `Table`.
        evaluations: what each file evaluates: scale, model, model_label, method, method_label, seed,
            benchmark, kind of metric, and the key expected in it.
        runs: what each summary is of: scale, model, method, seed, the key expected in it, and warning: which
            part of the method has no effect, or None.

    Raises:
        ValueError: a file has another key than expected.
    """
    scores = pd.concat(map(_read_evaluation, evaluation_files, evaluations))
    scores = scores[scores["metric"].isin(metrics)]
    summaries = pd.DataFrame(map(_read_summary, summary_files, runs))
    rows = _list_rows(pd.DataFrame(evaluations), summaries)
    rows["compared"] = (len(seeds) > 1) & (rows["model"] != BICUBIC) & (rows["method"] != baseline)
    compared = set(rows[rows["compared"]][["model", "method"]].itertuples(index=False, name=None))
    published = read_paper(paper) if paper is not None else {}
    columns = list(itertools.product(benchmarks, metrics))
    comparisons = int(rows["compared"].sum()) * len(columns)
    cells, left_out = {}, {}
    differences: dict[Any, list[NDArray[np.float64]]] = {column: [] for column in columns}
    for (scale, benchmark, metric), column in scores.groupby(["scale", *COLUMN], sort=False):
        grids = {
            row: part["score"].to_numpy(np.float64).reshape(part["seed"].nunique(), -1)
            for row, part in column.groupby(["model", "method"])
        }
        lacking = _unmeasured(np.concatenate(list(grids.values())))
        if lacking.any():
            left_out[scale, benchmark, metric] = column["image"].iloc[: len(lacking)][lacking].to_list()
            grids = {row: grid[:, ~lacking] for row, grid in grids.items()}
        for (model, method), grid in grids.items():
            cell = (scale, model, method, benchmark, metric)
            cells[cell] = _statistics(grid, published.get(cell, math.nan))
            if (model, method) in compared:
                with np.errstate(invalid="ignore"):  # two infinite PSNRs have no difference
                    difference = grid - grids[model, baseline]
                    cells[cell] |= _gain(difference, comparisons)
                if difference.any():  # a method without effect says nothing of the spread
                    differences[benchmark, metric].append(difference)
    places = [(*row, *column) for row in rows[ROW].itertuples(index=False) for column in columns]
    index = pd.MultiIndex.from_tuples(places, names=[*ROW, *COLUMN])
    frame = pd.DataFrame([cells[place] for place in places], index, STATISTICS, float)
    frame["p_holm"] = holm(frame["p"].to_list())
    return Table(
        name=table,
        caption=caption,
        paper=paper,
        benchmarks=benchmarks,
        metrics=metrics,
        seeds=seeds,
        baseline=baseline,
        trained_on=trained_on,
        degradation=degradation,
        rows=rows,
        cells=frame,
        detectable={column: detectable_difference(parts) for column, parts in differences.items()},
        devices=list(dict.fromkeys(summaries["device"] + " (" + summaries["precision"] + ")")),
        left_out=left_out,
    )


def read_paper(table: int) -> dict[Any, float]:
    """Return the scores of the paper's table by `ROW` and `COLUMN`, with the names of configs/paper.yaml."""
    with files("bspa.tables").joinpath("paper_tables.csv").open(encoding="utf-8") as file:
        scores = pd.read_csv(file, converters={"value": float}).set_index([*ROW, *COLUMN])
    return scores.loc[scores["table"] == table, "value"].to_dict()


def to_frame(table: Table) -> pd.DataFrame:
    """Return the columns of the table's CSV file, with every digit; empty where there is no value.

    scale, model, method, parameters, steps, device_seconds; attribution_seconds, where a run has any;
    {benchmark}_{metric}, the mean over images and seeds; {benchmark}_{metric}_std after a benchmark's
    metrics, for several seeds. Then, by benchmark and metric: _paper and _minus_paper, where the paper has
    any value; _sem, _gain, _gain_low, _gain_high, _p and _p_holm, for several seeds (gains: and several
    methods).
    """
    several = len(table.seeds) > 1
    over_seeds = ["sem", *(GAIN if table.rows["compared"].any() else [])] if several else []
    wide = table.cells.unstack(COLUMN).reindex(pd.MultiIndex.from_frame(table.rows[ROW]))
    columns = list(itertools.product(table.benchmarks, table.metrics))
    places = [
        (name, benchmark, metric)
        for benchmark in table.benchmarks
        for name in (["mean", "std"] if several else ["mean"])
        for metric in table.metrics
    ]
    compared = [column for column in columns if wide["paper", *column].notna().any()]
    places += [(name, *column) for column in compared for name in ("paper", "minus_paper")]
    places += [(name, *column) for column in columns for name in over_seeds]
    scores = pd.DataFrame(
        {
            "_".join(column if name == "mean" else (*column, name)): wide[name, *column].to_numpy()
            for name, *column in places
        }
    )
    return pd.concat([table.rows[[*ROW, *costs_of(table)]], scores], axis="columns")


def below_bicubic(table: Table) -> dict[tuple[int, str, str], list[str]]:
    """List the methods whose PSNR is below that of bicubic interpolation, by their labels.

    Returns:
        (scale, label of the network, benchmark) -> labels of the methods, in the order of the rows.
    """
    found: dict[tuple[int, str, str], list[str]] = {}
    if "psnr" not in table.metrics:
        return found
    means = table.cells["mean"].xs("psnr", level="metric")
    for _, row in table.rows[table.rows["model"] != BICUBIC].iterrows():
        for benchmark in table.benchmarks:
            bicubic = means.get((row["scale"], BICUBIC, BICUBIC, benchmark), -math.inf)
            if means[(*row[ROW], benchmark)] < bicubic:
                place = row["scale"], row["model_label"], benchmark
                found.setdefault(place, []).append(row["method_label"])
    return found


def costs_of(table: Table) -> list[str]:
    """Return the `COSTS` that the table shows: the seconds of attribution only if there are any."""
    return COSTS if table.rows["attribution_seconds"].any() else COSTS[:-1]


def _read_evaluation(path: PathLike, of: Mapping[str, Any]) -> pd.DataFrame:
    """Read a file as a long table: a line for each metric and image, which may be called NA."""
    metrics = [name for name, metric in METRICS.items() if metric.kind == of["kind"]]
    blanks = {metric: [""] for metric in metrics}
    scores = pd.read_csv(path, dtype={"image": str, "key": str}, keep_default_na=False, na_values=blanks)
    _check_key(path, next(iter(scores.get("key", [])), None), of["key"])
    return scores.melt("image", metrics, "metric", "score").assign(**of)


def _read_summary(path: PathLike, of: Mapping[str, Any]) -> dict[str, Any]:
    summary = json.loads(Path(path).read_text(encoding="utf-8"))
    _check_key(path, summary.get("key"), of["key"])
    weights, _, _ = summary["weights"].partition(", at step")  # which differs by seed
    return {**of, **summary, "weights": weights}


def _check_key(path: PathLike, found: str | None, expected: str) -> None:
    if found != expected:
        raise ValueError(
            f"{path}: made with other settings or code (key {found}, expected {expected}); "
            "run the same command again to remake it, or delete the file first"
        )


def _list_rows(evaluations: pd.DataFrame, summaries: pd.DataFrame) -> pd.DataFrame:
    """List the rows by scale, with what a run of each costs; the plan lists interpolation first."""
    rows = evaluations.drop_duplicates(ROW)[[*ROW, "model_label", "method_label"]]
    rows = rows.sort_values("scale", kind="stable", key=lambda scale: pd.factorize(scale)[0])
    # With match_seconds, the seeds of a row differ in steps.
    costs = dict.fromkeys(COSTS, fmean) | dict.fromkeys(["weights", "warning"], "first")
    rows = rows.merge(summaries.groupby(ROW).agg(costs).reset_index(), how="left", on=ROW)
    rows = rows.fillna(dict.fromkeys(COSTS, 0.0) | {"warning": ""}).round({"steps": 0})
    return rows.astype({"parameters": int, "steps": int})


def _unmeasured(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the images (n) that lack a value in some of (rows, n), so that means of the others compare.

    A row without any value does not count: its metric was not computed. If every image lacks one, all stay.
    """
    missing = np.isnan(scores)
    lacking = np.logical_or.reduce(missing[~missing.all(axis=1)])
    return lacking & ~lacking.all()


def _statistics(values: NDArray[np.float64], paper: float) -> dict[str, float]:
    """Statistics of (seeds, images); no deviation of one seed or of an infinite mean."""
    mean, means = float(values.mean()), values.mean(axis=1)
    std = float(means.std(ddof=1)) if len(means) > 1 and np.isfinite(means).all() else math.nan
    sem = std / math.sqrt(len(means))
    return {"mean": mean, "std": std, "sem": sem, "paper": paper, "minus_paper": mean - paper}


def _gain(differences: NDArray[np.float64], comparisons: int) -> dict[str, float]:
    """Mean difference to the baseline, paired by seed and image, its 95 % interval, and its p-value.

    The p-value has so many resamples that the smallest one is below 0.02 after correction.
    """
    low, high = mean_interval(differences)
    p = p_value(differences, resamples=max(9999, 100 * comparisons))
    return {"gain": float(differences.mean()), "gain_low": low, "gain_high": high, "p": p}
