from __future__ import annotations

import logging
import math

import numpy as np
import pytest

from bspa.difficulty.class_table import write_classes
from bspa.difficulty.classes import class_sizes, split_classes
from bspa.figures.figure3 import ClassPsnr, class_psnr, figure_3, psnr_rgb, training_classes
from bspa.figures.matching import read_matching
from tests.support.figure_files import (
    assert_drawn_twice_alike,
    assert_nothing_is_cut_off,
    score_file,
    scores_of,
)


def test_psnr_of_an_mse_and_its_ceiling():
    psnr = psnr_rgb(np.array([1.0, 0.01, 1e-4, 1e-12, 0.0], np.float32))
    assert psnr == pytest.approx([0, 20, 40, 100, 100])


def test_means_over_classes_are_those_of_a_plain_loop(caplog):
    rng = np.random.default_rng(0)
    mse = [rng.exponential(0.003, 500).astype(np.float32) for _ in range(3)]
    mse[1][7] = 0
    members = rng.choice([1, 2, 4, 5], 500)
    with caplog.at_level(logging.INFO, "bspa"):
        found = class_psnr(mse, members, 5)
    assert "1 PSNRs of sub-images count as 100 dB" in caplog.text
    for row, errors in zip(found.psnr, mse, strict=True):
        for k in range(1, 6):
            psnrs = [
                10 * math.log10(1 / e) if e else 100
                for e, c in zip(errors.tolist(), members, strict=True)
                if c == k
            ]
            assert found.counts[k - 1] == len(psnrs)
            if psnrs:
                assert row[k - 1] == pytest.approx(sum(psnrs) / len(psnrs), rel=1e-12)
            else:
                assert math.isnan(row[k - 1])


def test_training_classes_have_their_exact_sizes_whatever_the_ties():
    difficulty = scores_of([0.1] * 30 + [0.2] * 30)
    classes = split_classes(difficulty.mse, 4, 10)
    members = training_classes(difficulty, classes, path="t.csv")
    assert np.bincount(members)[1:].tolist() == class_sizes(60, 4, 10).tolist()
    with pytest.raises(ValueError, match=r"t\.csv splits 60 sub-images .* 61 scores"):
        training_classes(scores_of([0.1] * 61), classes, path="t.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 2}, "scale is 2, not 4"),
        ({"size": 48}, "size is 48, not 32"),
        ({"top": [0, 8, 0]}, r"they lie elsewhere \(top differs\)"),
        ({"mse": np.zeros(2, np.float32)}, "there are 2, not 3"),
        ({"mse": np.array([0, np.nan, 0], np.float32)}, "scores that are not finite"),
    ],
)
def test_scores_of_other_sub_images_are_refused(tmp_path, changes, message):
    first = score_file(tmp_path / "a.h5", [0.1, 0.2, 0.3])
    other = score_file(tmp_path / "b.h5", changes.pop("mse", [0.3, 0.2, 0.1]), **changes)
    with pytest.raises(ValueError, match=rf"b\.h5.*{message}"):
        read_matching([first, other])
    assert len(read_matching([first, first])) == 2


def test_lines_and_gains_are_drawn_and_empty_classes_leave_gaps():
    psnr = np.array([[40.0, 30, np.nan, 20], [39.5, 30.5, np.nan, 21], [40.5, 30, np.nan, 19]])
    panel = ClassPsnr(counts=np.array([1234, 50, 0, 7]), psnr=psnr)
    figure = figure_3({"Training": panel, "Validation": panel}, ["a", "b", "c"], label="net, x4")
    upper, _, lower, _ = figure.axes
    np.testing.assert_array_equal([line.get_ydata() for line in upper.lines], psnr)
    gains = [line for line in lower.lines if line.get_marker() != "None"]
    np.testing.assert_array_equal([line.get_ydata() for line in gains], psnr[1:] - psnr[0])
    offsets = np.array([line.get_xdata() for line in gains]) - [1, 2, 3, 4]
    assert np.abs(offsets).max() < 0.5
    assert len(set(offsets[:, 0].tolist())) == 2
    assert [text.get_text() for text in lower.get_xticklabels()] == ["1\n1.2k", "2\n50", "3\n0", "4\n7"]
    assert upper.get_title() == "Training (1,291 sub-images)"
    assert figure.get_suptitle() == "net, x4"


@pytest.mark.parametrize("classes", [1, 13, 40])
def test_any_number_of_classes_can_be_drawn(classes):
    panel = ClassPsnr(counts=np.full(classes, 99_000), psnr=np.full((2, classes), 30.0))
    figure = figure_3({"Training": panel, "Validation": panel}, ["a", "b"], label="")
    assert_nothing_is_cut_off(figure)
    ticks = [tick for tick in figure.axes[2].get_xticklabels() if tick.get_text()]
    extents = [tick.get_window_extent() for tick in ticks]
    # Those two apart too, since the counts of neighbours stand on lines of their own.
    for first, second in zip(extents, extents[2:], strict=False):
        assert first.x1 < second.x0


def test_one_method_has_nothing_to_be_compared_with():
    panel = ClassPsnr(counts=np.array([1]), psnr=np.array([[30.0]]))
    with pytest.raises(ValueError, match=r"figures\.figure3\.methods is \['a'\]; two methods"):
        figure_3({"Training": panel}, ["a"], label="")


def test_the_script_draws_the_figure(tmp_path):
    rng = np.random.default_rng(1)
    training, validation = rng.exponential(0.003, 300), rng.exponential(0.003, 40)
    write_classes(tmp_path / "thresholds.csv", split_classes(training.astype(np.float32), 10, 10), key="")
    assert_drawn_twice_alike(
        "figure_3",
        tmp_path,
        {"methods": ["uniform", "inverse"], "label": "net, x4"},
        difficulty=score_file(tmp_path / "t.h5", training),
        validation_difficulty=score_file(tmp_path / "v.h5", validation),
        train_scores=[score_file(tmp_path / f"t{n}.h5", training * (1 - n / 9)) for n in (0, 1)],
        validation_scores=[score_file(tmp_path / f"v{n}.h5", validation * (1 - n / 9)) for n in (0, 1)],
        thresholds=tmp_path / "thresholds.csv",
    )
