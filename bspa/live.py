"""A page that shows the training runs of a folder of results, those in progress too: curves and pictures.

It reads what training jobs leave: journals, the partial states of stages in progress, and previews. It loads
neither torch nor numpy.
"""

from __future__ import annotations

import base64
import csv
import html
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bspa.system.reading import reading
from bspa.training.stage import PHASES

SHOWN = 4
"""Previews of each region, the newest ones."""

Point = tuple[float, float]

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh}<title>{title}</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 1.5em; }}
h2 {{ font-size: 1.05em; margin: 1.5em 0 0.3em; }}
svg {{ background: #fafafa; margin-right: 1em; }}
text {{ font-size: 11px; fill: #444; }}
figure {{ display: inline-block; margin: 0.5em 1em 0.5em 0; }}
figcaption {{ color: #444; font-size: 0.85em; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
{runs}</body>
</html>
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What is there of a training run."""

    name: str
    rows: list[dict[str, float | None]]
    """The journals of its stages, one after the other; step counts from the beginning of the run."""
    in_progress: str
    """The stage that is not finished, or empty."""
    previews: list[Path]
    """By region, then by step."""

    def curve(self, column: str) -> list[Point]:
        """Return the steps and values of a column of the journals, where it has any."""
        return [(row["step"] or 0, value) for row in self.rows if (value := row.get(column)) is not None]


def read_runs(results: str | os.PathLike[str]) -> list[Run]:
    """Read the runs under a folder of results, by name.

    Raises:
        ValueError: there is no folder of training runs.
    """
    folder = Path(results, "training")
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder; give the folder of results of a run (`results` of its config)"
        )
    return [_read_run(run) for run in sorted(folder.iterdir()) if run.is_dir() and list(run.glob("cycle*"))]


def _read_run(folder: Path) -> Run:
    rows: list[dict[str, float | None]] = []
    unfinished = ""
    cycles = sorted(folder.glob("cycle*"), key=lambda cycle: int(cycle.name.removeprefix("cycle")))
    for cycle in cycles:
        for phase in PHASES:
            stage, partial = _read_journal(cycle / f"{phase}.csv"), False
            if not stage:
                stage = _read_partial(cycle / f".{phase}.partial" / "state.safetensors")
                partial = (cycle / f".{phase}.partial").is_dir()
            before = (rows[-1]["step"] or 0) if rows else 0
            rows += [{**row, "step": (row["step"] or 0) + before} for row in stage]
            if partial:
                unfinished = f"{cycle.name} {phase}"
    return Run(
        name=folder.name,
        rows=rows,
        in_progress=unfinished,
        previews=sorted((folder / "previews").glob("crop*_step*.png")),
    )


def _read_journal(path: Path) -> list[dict[str, float | None]]:
    try:
        with path.open(newline="", encoding="utf-8") as file, reading(path, "the journal of a stage"):
            return [_numbers(row) for row in csv.DictReader(file)]
    except OSError:
        return []


def _numbers(row: Mapping[str, str]) -> dict[str, float | None]:
    if not row["step"]:
        raise ValueError("a row has no step")
    return {name: float(text) if text else None for name, text in row.items()}


def _read_partial(path: Path) -> list[dict[str, float | None]]:
    """Read the journal so far from the header of a partial state; one may vanish when its stage ends."""
    try:
        with path.open("rb") as file, reading(path, "a partial state"):
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, path.stat().st_size)))
            rows: list[dict[str, float | None]] = json.loads(header["__metadata__"]["rows"])
            return [{"step": None, **row} for row in rows]
    except (OSError, ValueError):
        return []


def to_page(runs: Sequence[Run], title: str, *, refresh: float | None = None) -> str:
    """Return a page that needs no other file; it loads itself again after ``refresh`` seconds, if given."""
    going = sum(bool(run.in_progress) for run in runs)
    again = "" if refresh is None else f'<meta http-equiv="refresh" content="{refresh:g}">\n'
    return PAGE.format(
        title=html.escape(title),
        refresh=again,
        summary=f"Runs: {len(runs)}; with a stage that is not finished: {going}",
        runs="".join(map(_section, runs)),
    )


def _section(run: Run) -> str:
    steps = f"{run.rows[-1]['step']:,.0f} steps" if run.rows else "no step in its files yet"
    state = f", in progress: {run.in_progress}" if run.in_progress else ""
    curves = [
        _curve("Loss", [run.curve("loss")], log=True),
        _curve("PSNR (dB); dashed: of the average", [run.curve("psnr"), run.curve("psnr_average")]),
        _curve("Learning rate", [run.curve("learning_rate")]),
    ]
    regions: dict[str, list[Path]] = {}
    for file in run.previews:
        regions.setdefault(file.name.partition("_")[0], []).append(file)
    figures = "".join(_figure(file) for files in regions.values() for file in files[-SHOWN:])
    return (
        f"<h2>{html.escape(run.name)}</h2>\n<p>{steps}{state}</p>\n{''.join(curves)}\n<div>{figures}</div>\n"
    )


def _figure(file: Path) -> str:
    try:
        data = base64.b64encode(file.read_bytes()).decode()
    except OSError:
        return ""  # its run has begun again
    step = int(file.stem.rpartition("step")[2])
    text = f"LR, SR, HR after {step:,} steps"
    image = f'<img src="data:image/png;base64,{data}" alt="{text}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>\n"


def _curve(title: str, lines: Sequence[Sequence[Point]], *, log: bool = False) -> str:
    """Draw lines over the steps as SVG, on a ``log`` scale where no value forbids it; none of one point."""
    points = [point for line in lines for point in line]
    if max(map(len, lines)) < 2:
        return ""
    width, height, edge = 360, 170, 30
    last = max(step for step, _ in points)
    low, high = min(value for _, value in points), max(value for _, value in points)
    scale: Callable[[float], float] = math.log if log and low > 0 else float
    span = scale(high) - scale(low) or 1.0
    title += ", log scale" if scale is math.log else ""

    def place(point: Point) -> str:
        step, value = point
        x = edge + (width - 2 * edge) * step / last
        return f"{x:.1f},{height - edge - (height - 2 * edge) * (scale(value) - scale(low)) / span:.1f}"

    dashes = ("", ' stroke-dasharray="4 3"')
    drawn = "".join(
        f'<polyline fill="none" stroke="#0b62a4"{dash} points="{" ".join(map(place, line))}"/>'
        for line, dash in zip(lines, dashes, strict=False)
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="{title}">{drawn}'
        f'<text x="{edge}" y="14">{title}, from {low:.4g} to {high:.4g}</text>'
        f'<text x="{width - edge}" y="{height - 8}" text-anchor="end">{last:,.0f} steps</text></svg>'
    )
