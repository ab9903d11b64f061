from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.patches import StepPatch

from bspa.difficulty.classes import Classes, split_classes
from bspa.figures.figure1 import figure_1
from tests.support.figure_files import assert_nothing_is_cut_off


@pytest.fixture(scope="module")
def mse() -> np.ndarray:
    return np.random.default_rng(0).exponential(4e-3, 20_000).astype(np.float32)


@pytest.fixture(scope="module")
def classes(mse: np.ndarray) -> Classes:
    return split_classes(mse, 10, 10)


def test_the_histogram_counts_every_sub_image(mse: np.ndarray, classes: Classes) -> None:
    axes = figure_1(mse, classes, label="").axes[0]
    (bars,) = (patch for patch in axes.patches if isinstance(patch, StepPatch))
    assert bars.get_data().values.sum() == len(mse)
    assert bars.get_data().edges[[0, -1]] == pytest.approx([0, 1e3 * mse.max()])
    assert axes.get_yscale() == "log"
    assert "20,000 sub-images" in axes.texts[0].get_text()


def test_each_class_is_as_wide_as_its_share_and_as_high_as_its_errors(
    mse: np.ndarray, classes: Classes
) -> None:
    figure = figure_1(mse, classes, label="photos, x4")
    areas = [area for area in figure.axes[1].collections if isinstance(area, PolyCollection)]
    boxes = [area.get_paths()[0].get_extents() for area in areas]
    bounds = 100 * np.concatenate([[0], classes.sizes.cumsum()]) / len(mse)
    np.testing.assert_allclose([(box.x0, box.x1) for box in boxes], np.stack([bounds[:-1], bounds[1:]], 1))
    np.testing.assert_allclose([box.y1 for box in boxes], 1e3 * classes.thresholds, rtol=0.01)
    assert [text.get_text() for text in figure.axes[1].texts] == [str(k) for k in range(10, 0, -1)]
    assert figure.get_suptitle().endswith("photos, x4")
    assert_nothing_is_cut_off(figure)


@pytest.mark.parametrize(
    ("scores", "k", "imbalance"),
    [
        (np.zeros(30, np.float32), 3, 10),  # all alike
        (np.full(1, 0.25, np.float32), 1, 1),
        (np.geomspace(1e-7, 1, 500, dtype=np.float32), 20, 200),  # classes too narrow for their numbers
    ],
)
def test_odd_distributions_can_be_drawn(scores: np.ndarray, k: int, imbalance: float) -> None:
    figure = figure_1(scores, split_classes(scores, k, imbalance), label="odd")
    assert_nothing_is_cut_off(figure)
    boxes = [text.get_window_extent() for text in figure.axes[1].texts]
    for right, left in itertools.pairwise(boxes):
        assert left.x1 < right.x0
