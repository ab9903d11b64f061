"""Table 4: methods compared by their mean PSNR and SSIM on benchmarks, beside what their training cost."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd

BICUBIC = "bicubic"
METRICS = ("psnr", "ssim")

PathLike = str | os.PathLike[str]
Key = tuple[int, str, str]
"""Scale, model, method."""
Scores = dict[tuple[str, str], float]
"""By benchmark and metric."""


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
    scores: Sequence[Scores]
    """PSNR in dB and SSIM, means over images, for each seed."""

    def mean(self, benchmark: str, metric: str) -> float:
        """Mean over seeds."""
        return fmean(scores[benchmark, metric] for scores in self.scores)

    def std(self, benchmark: str, metric: str) -> float:
        """Sample standard deviation over seeds; nan where there is one seed, or an infinite PSNR."""
        values = [scores[benchmark, metric] for scores in self.scores]
        return stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Table4:
    """Entries grouped by scale, bicubic interpolation first in each."""

    benchmarks: Sequence[str]
    seeds: Sequence[int]
    entries: Sequence[Entry]
    devices: Sequence[str]
    """What the runs computed on, and in what precision."""


def read_table4(
    evaluations: Sequence[PathLike],
    rows: Sequence[Mapping[str, Any]],
    summaries: Sequence[PathLike],
    runs: Sequence[Mapping[str, Any]],
) -> Table4:
    """Gather the table from evaluations and from summaries of training runs.

    Args:
        evaluations: CSV files of `bspa.evaluation.evaluate`.
        rows: what each is of: scale, model, method, seed, benchmark; for print, label (the model's) and
            method_label, the names where they are not given. The model `BICUBIC` is no network.
        summaries: JSON files of runs: parameters, steps, device_seconds, precision, device.
        runs: what each is of: scale, model, method, seed.

    Raises:
        ValueError: a CSV file has no scores, or scores other images than another of its benchmark; an
            evaluation or a summary is missing; runs that differ by seed alone differ in parameters or steps.
    """
    scores = _read_scores(evaluations, rows)
    costs: dict[Key, list[dict[str, Any]]] = {key: [] for key in scores}
    for path, run in zip(summaries, runs, strict=True):
        costs[_key(run)].append(json.loads(Path(path).read_text(encoding="utf-8")))

    benchmarks = list(dict.fromkeys(row["benchmark"] for row in rows))
    named = {_key(row): row for row in rows}
    entries = [_entry(named[key], scores[key], costs[key], benchmarks) for key in scores]
    scales = list(dict.fromkeys(row["scale"] for row in rows))
    entries.sort(key=lambda entry: (scales.index(entry.scale), entry.model != BICUBIC))
    return Table4(
        benchmarks=benchmarks,
        seeds=list(dict.fromkeys(run["seed"] for run in runs)),
        entries=entries,
        devices=list(
            dict.fromkeys(f"{cost['device']} ({cost['precision']})" for of in costs.values() for cost in of)
        ),
    )


def to_frame(table: Table4) -> pd.DataFrame:
    """Return the documented columns of ``table4.csv``, every digit kept.

    scale, model, method, parameters, steps, device_seconds; then for each benchmark {benchmark}_psnr and
    {benchmark}_ssim and, where any entry has several seeds, {benchmark}_psnr_std and {benchmark}_ssim_std.
    """
    several = any(len(entry.scores) > 1 for entry in table.entries)
    rows = []
    for entry in table.entries:
        row: dict[str, Any] = {
            name: getattr(entry, name)
            for name in ("scale", "model", "method", "parameters", "steps", "device_seconds")
        }
        for benchmark in table.benchmarks:
            row |= {f"{benchmark}_{metric}": entry.mean(benchmark, metric) for metric in METRICS}
            if several:
                row |= {f"{benchmark}_{metric}_std": entry.std(benchmark, metric) for metric in METRICS}
        rows.append(row)
    return pd.DataFrame(rows)


def _key(row: Mapping[str, Any]) -> Key:
    return row["scale"], row["model"], row["method"]


def _read_scores(
    paths: Sequence[PathLike], rows: Sequence[Mapping[str, Any]]
) -> dict[Key, dict[int, Scores]]:
    """Means over images, by entry and seed, in the order of ``rows``."""
    scores: dict[Key, dict[int, Scores]] = {}
    images: dict[tuple[int, str], tuple[PathLike, list[str]]] = {}
    for path, row in zip(paths, rows, strict=True):
        # An image may be called NA.
        blanks = {metric: [""] for metric in METRICS}
        table = pd.read_csv(path, dtype={"image": str}, keep_default_na=False, na_values=blanks)
        if not {"image", *METRICS} <= set(table) or table.empty or table[[*METRICS]].isna().to_numpy().any():
            raise ValueError(
                f"{path}: a row for each image with image, psnr and ssim is needed; evaluate again"
            )
        names = list(table["image"])
        other, expected = images.setdefault((row["scale"], row["benchmark"]), (path, names))
        if names != expected:
            raise ValueError(f"{path} and {other} score different images; their means cannot be compared")
        of_seed = scores.setdefault(_key(row), {}).setdefault(row["seed"], {})
        for metric in METRICS:
            assert (row["benchmark"], metric) not in of_seed, row
            of_seed[row["benchmark"], metric] = fmean(table[metric])
    return scores


def _entry(
    row: Mapping[str, Any],
    scores: Mapping[int, Scores],
    costs: Sequence[Mapping[str, Any]],
    benchmarks: Sequence[str],
) -> Entry:
    name = f"{row['model']} x{row['scale']} {row['method']}"
    for seed, of_seed in scores.items():
        missing = [benchmark for benchmark in benchmarks if (benchmark, METRICS[0]) not in of_seed]
        if missing:
            raise ValueError(f"{name} seed {seed}: no evaluation on {', '.join(missing)}")
    if row["model"] == BICUBIC:
        costs = [{"parameters": 0, "steps": 0, "device_seconds": 0.0}]
    elif len(costs) != len(scores):
        raise ValueError(f"{name}: {len(scores)} seeds are evaluated, but {len(costs)} runs are summarised")
    sizes = {(cost["parameters"], cost["steps"]) for cost in costs}
    if len(sizes) > 1:
        raise ValueError(
            f"{name}: its runs differ in (parameters, steps): {sorted(sizes)}; unlike runs have no mean"
        )
    return Entry(
        scale=row["scale"],
        model=row["model"],
        method=row["method"],
        model_label=row.get("label", row["model"]),
        method_label=row.get("method_label", row["method"]),
        parameters=costs[0]["parameters"],
        steps=costs[0]["steps"],
        device_seconds=fmean(cost["device_seconds"] for cost in costs),
        scores=list(scores.values()),
    )
