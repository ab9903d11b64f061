from __future__ import annotations

import itertools
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from bspa.difficulty.class_table import write_classes
from bspa.difficulty.classes import split_classes
from bspa.figures.figure3 import ClassPsnr, class_psnr, figure_3
from tests.support.figure_files import SCRIPTS, assert_nothing_is_cut_off, score_file
from tests.support.jobs import make_job


def panel_of(counts: list[int], psnr: np.ndarray) -> ClassPsnr:
    gain = psnr[1:] - psnr[0]
    return ClassPsnr(counts=np.array(counts), psnr=psnr, gain=gain, interval=np.full_like(gain, 0.1))


def test_means_and_intervals_of_classes_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    mse = [rng.exponential(0.003, 500).astype(np.float32) for _ in range(3)]
    mse[1][7] = 0
    members = rng.choice([1, 2, 4, 5], 500)
    members[0] = 6  # the only one
    found = class_psnr(mse, members, 6)
    psnr = np.array([[10 * math.log10(1 / e) if e else 100 for e in errors.tolist()] for errors in mse])
    for k in range(6):
        of_class = psnr[:, members == k + 1]
        assert found.counts[k] == of_class.shape[1]
        if k == 2:
            assert np.isnan([*found.psnr[:, k], *found.gain[:, k], *found.interval[:, k]]).all()
            continue
        gains = of_class[1:] - of_class[0]
        assert found.psnr[:, k] == pytest.approx(of_class.mean(axis=1), rel=1e-12)
        assert found.gain[:, k] == pytest.approx(gains.mean(axis=1), rel=1e-9)
        if k == 5:
            assert np.isnan(found.interval[:, k]).all()
        else:
            error = gains.std(axis=1, ddof=1) / math.sqrt(gains.shape[1])
            assert found.interval[:, k] == pytest.approx(1.96 * error)


def test_gains_are_drawn_with_their_intervals_side_by_side_and_empty_classes_leave_gaps() -> None:
    psnr = np.array([[40.0, 30, np.nan, 20], [39.5, 30.5, np.nan, 21], [40.5, 30, np.nan, 19]])
    panel = panel_of([1234, 50, 0, 7], psnr)
    figure = figure_3({"Training": panel, "Validation": panel}, ["a", "b", "c"], label="net, x4")
    upper, _, lower, _ = figure.axes
    np.testing.assert_array_equal([line.get_ydata() for line in upper.lines], psnr)
    bars = [bar for bar in lower.containers if isinstance(bar, ErrorbarContainer)]
    np.testing.assert_array_equal([bar.lines[0].get_ydata() for bar in bars], panel.gain)
    segments = [line for bar in bars for line in bar.lines[2][0].get_segments() if len(line)]
    assert [np.ptp(line[:, 1]) for line in segments] == pytest.approx([0.2] * 6)
    offsets = np.array([bar.lines[0].get_xdata() for bar in bars]) - [1, 2, 3, 4]
    assert np.abs(offsets).max() < 0.5
    assert len(set(offsets[:, 0].tolist())) == 2
    assert [text.get_text() for text in lower.get_xticklabels()] == ["1\n1,234", "2\n50", "3\n0", "4\n7"]
    assert upper.get_title() == "Training, 1,291 sub-images"
    assert figure.get_suptitle().endswith("net, x4")


def test_the_script_classifies_by_rgb_and_draws_y(tmp_path: Path) -> None:
    mse = np.array([0.001, 0.1, 0.01, 0.2])
    write_classes(tmp_path / "thresholds.csv", split_classes(mse, 2, 1), key="test")
    difficulty = score_file(tmp_path / "difficulty.h5", mse, mse_y=mse[::-1])
    scores = [score_file(tmp_path / f"{n}.h5", mse / n, mse_y=mse / n / 10) for n in (1, 2)]
    files = {
        "thresholds": tmp_path / "thresholds.csv", "train_scores": scores, "validation_scores": scores,
        "difficulty": difficulty, "validation_difficulty": difficulty,
    }  # fmt: skip
    drawn: list[Figure] = []
    main = runpy.run_path(str(SCRIPTS / "figure_3.py"))["main"]
    main.__globals__["save_figure"] = lambda figure, *_: drawn.append(figure)
    settings = {"label": "net, x4", "methods": ["a", "b"]}
    main(make_job("figure_3", files, {"pdf": "", "png": ""}, settings))
    psnr = -10 * np.log10(mse / 10)
    means = np.array([psnr[[0, 2]].mean(), psnr[[1, 3]].mean()])
    for axes in drawn[0].axes[:2]:
        lines = np.array([line.get_ydata() for line in axes.lines])
        assert lines == pytest.approx(np.array([means, means + 10 * np.log10(2)]), rel=1e-6)
    assert "PSNR on Y" in drawn[0].get_suptitle()


@pytest.mark.parametrize("classes", [1, 12, 40])
def test_any_number_of_classes_can_be_drawn(classes: int) -> None:
    panel = panel_of([111_000] * classes, np.full((2, classes), 30.0))
    figure = figure_3({"Training": panel, "Validation": panel}, ["a", "b"], label="")
    assert_nothing_is_cut_off(figure)
    ticks = [tick for tick in figure.axes[2].get_xticklabels() if tick.get_text()]
    if classes <= 12:
        assert ticks[0].get_text() == "1\n111.0"
        assert "(thousands)" in figure.axes[2].get_xlabel()
    for first, second in itertools.pairwise(tick.get_window_extent() for tick in ticks):
        assert first.x1 < second.x0
