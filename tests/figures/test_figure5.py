from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from bspa.figures.figure5 import figure_5, share_above, summary
from tests.support.figure_files import assert_nothing_is_cut_off


@pytest.fixture
def errors() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.exponential(scale, 2000).astype(np.float32) for scale in (0.004, 0.003)]


def test_shares_above_are_strictly_above() -> None:
    mse = np.array([0.0, 0.5, 0.5, 2.0], np.float32)
    found = share_above(mse, np.array([-1.0, 0.0, 0.4, 0.5, 1.0, 2.0]))
    assert found.tolist() == [1, 0.75, 0.75, 0.25, 0.25, 0]


def test_mean_and_percentiles() -> None:
    found = summary(np.arange(101, dtype=np.float32))
    assert found == {"mean": 50, "median": 50, "95th pct": 95, "99th pct": 99}


def test_histograms_tails_and_numbers_share_one_axis(errors: list[np.ndarray]) -> None:
    figure = figure_5(errors, ["base", "BSPA"], label="net, x4")
    upper, lower = figure.axes
    assert figure.get_suptitle() == "Errors of 2,000 training sub-images\nnet, x4"
    end = pytest.approx((0, 1e3 * max(e.max() for e in errors)))
    assert upper.get_xlim() == lower.get_xlim() == end
    outlines = [patch.get_data() for patch in upper.patches if isinstance(patch, StepPatch)]
    for (counts, edges, _), line, mse in zip(outlines, lower.lines, errors, strict=True):
        scaled = 1e3 * mse.astype(float)
        assert counts.sum() == len(mse)
        assert counts[3] == sum(edges[3] <= e < edges[4] for e in scaled)
        x, y = line.get_data()
        above = np.array([100 * np.mean(scaled > limit) for limit in x])
        np.testing.assert_allclose(y, np.where(above > 0, above, np.nan))
    written = {text.get_text() for text in upper.texts}
    for mse in errors:
        numbers = [1e3 * mse.mean(dtype=float), *(1e3 * np.quantile(mse.astype(float), [0.5, 0.95, 0.99]))]
        assert {f"{number:#.3g}" for number in numbers} <= written


@pytest.mark.parametrize("mse", [np.zeros(5, np.float32), np.array([0.3], np.float32)])
def test_odd_distributions_can_be_drawn(mse: np.ndarray) -> None:
    assert_nothing_is_cut_off(figure_5([mse, mse], ["a", "b"], label=""))
