"""Figure 7: validation curves of runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bspa.figures.figure7 import ValidationCurve, figure_7, read_validation
from bspa.figures.style import save_figure
from bspa.training.journal import write_journal


def journal(path: Path, points: dict[int, float | None], *, average: float = 0.0) -> str:
    """Write a journal whose epochs end at the given steps; a step takes a tenth of a second."""
    rows = []
    for step, psnr in points.items():
        row = {"step": step, "epoch": 1, "loss": 0.1, "learning_rate": 1e-3, "samples_per_second": 1.0}
        values = {"psnr": psnr, "psnr_average": psnr + average if psnr and average else None}
        rows.append({**row, "device_seconds": step / 10, **values})
    write_journal(rows, path)
    return str(path)


def test_a_runs_stages_and_attributions_add_up(tmp_path: Path) -> None:
    first = journal(tmp_path / "a.csv", {10: None, 20: 25.0})
    second = journal(tmp_path / "b.csv", {10: 26.0, 20: None, 30: 27.0})
    mask = tmp_path / "mask.json"
    mask.write_text(json.dumps({"device_seconds": 7.0}))
    other = journal(tmp_path / "c.csv", {20: 24.0, 30: 26.0, 50: 29.0, 60: 30.0})
    curve = read_validation([[first, str(mask), second], [other]], model="m", method="bspa")
    assert curve.steps.tolist() == [20, 30, 50]
    assert curve.seconds == pytest.approx(np.mean([[2, 10, 12], [2, 3, 5]], axis=0))
    assert curve.psnr.tolist() == [[25, 26, 27], [24, 26, 29]]


def test_the_average_counts_where_there_is_one(tmp_path: Path) -> None:
    file = journal(tmp_path / "a.csv", {10: 25.0, 20: 26.0}, average=0.5)
    assert read_validation([[file]], model="m", method="b").psnr.tolist() == [[25.5, 26.5]]


def test_runs_without_validation_are_refused(tmp_path: Path) -> None:
    file = journal(tmp_path / "a.csv", {10: None})
    with pytest.raises(ValueError, match=r"m, b: no validation in .*a\.csv"):
        read_validation([[file]], model="m", method="b")


def test_lines_are_means_and_bands_are_ranges_of_the_seeds(tmp_path: Path) -> None:
    steps = np.arange(1, 11) * 100.0
    generator = np.random.default_rng(0)
    curves = [
        ValidationCurve(
            model=model, method=method, steps=steps, seconds=steps * cost,
            psnr=28 + level + np.log10(steps) + generator.normal(0, 0.05, (3, 10)),
        )
        for model in ("FSRCNN", "FSRCNN, torch's initial weights")
        for method, cost, level in (("baseline", 0.1, 0.0), ("BSPA", 0.2, 0.1))
    ]  # fmt: skip
    figure = figure_7(curves, label="x4, seeds 0 to 2, trained on photographs, validated on others")
    save_figure(figure, tmp_path / "figure7.pdf", tmp_path / "figure7.png", {})
    assert (tmp_path / "figure7.png").stat().st_size > 10_000
    left, right = figure.axes[:2]
    for axes, cost in ((left, "steps"), (right, "seconds")):
        for line, curve in zip(axes.lines, curves[:2], strict=True):
            assert line.get_xdata() == pytest.approx(getattr(curve, cost))
            assert line.get_ydata() == pytest.approx(curve.psnr.mean(axis=0))
        assert len(axes.collections) == 2
