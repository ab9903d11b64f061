from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from bspa.figures.figure5 import BINS, figure_5, histograms, share_above, summary
from tests.support.figure_files import assert_drawn_twice_alike, assert_nothing_is_cut_off, score_file


@pytest.fixture
def errors():
    rng = np.random.default_rng(0)
    return [rng.exponential(scale, 2000).astype(np.float32) for scale in (0.004, 0.003)]


def test_bins_end_at_the_firsts_99th_percentile_and_count_as_a_plain_loop_does(errors):
    found = histograms(errors)
    assert found.edges[[0, -1]] == pytest.approx([0, np.quantile(errors[0].astype(float), 0.99)])
    assert np.diff(found.edges) == pytest.approx(found.edges[-1] / BINS)
    for counts, mse in zip(found.counts, errors, strict=True):
        for n in range(BINS - 1):
            assert counts[n] == sum(found.edges[n] <= e < found.edges[n + 1] for e in mse.astype(float))
    assert found.counts[0].sum() == 1980


def test_shares_above_are_strictly_above():
    mse = np.array([0.0, 0.5, 0.5, 2.0], np.float32)
    assert share_above(mse, np.array([-1.0, 0.0, 0.4, 0.5, 1.0, 2.0])).tolist() == [
        1,
        0.75,
        0.75,
        0.25,
        0.25,
        0,
    ]


def test_mean_and_percentiles():
    found = summary(np.arange(101, dtype=np.float32))
    assert found == {"mean": 50, "median": 50, "95th pct": 95, "99th pct": 99}


def test_outlines_tails_and_numbers_are_drawn(errors):
    upper, lower = figure_5(errors, ["base", "BSPA"], label="net, x4").axes
    outlines = [patch.get_data() for patch in upper.patches if isinstance(patch, StepPatch)]
    expected = histograms([1e3 * e.astype(float) for e in errors])
    np.testing.assert_array_equal([outline.values for outline in outlines], expected.counts)
    for line, mse in zip(lower.lines, errors, strict=True):
        x, y = line.get_data()
        above = np.array([100 * np.mean(1e3 * mse.astype(float) > limit) for limit in x])
        np.testing.assert_allclose(y, np.where(above > 0, above, np.nan))
        assert x[-1] == pytest.approx(1e3 * max(e.max() for e in errors))
    written = [text.get_text() for text in upper.texts]
    assert written[0] == "net, x4\n2,000 sub-images"
    for mse in errors:
        numbers = [1e3 * mse.mean(dtype=float), *(1e3 * np.quantile(mse.astype(float), [0.5, 0.95, 0.99]))]
        assert {f"{number:#.3g}" for number in numbers} <= set(written)


@pytest.mark.parametrize("mse", [np.zeros(5, np.float32), np.array([0.3], np.float32)])
def test_odd_distributions_can_be_drawn(mse):
    assert_nothing_is_cut_off(figure_5([mse, mse], ["a", "b"], label=""))


def test_the_script_draws_the_figure(tmp_path, errors):
    files = [score_file(tmp_path / f"{n}.h5", mse) for n, mse in enumerate(errors)]
    settings = {"methods": ["baseline", "BSPA"], "label": "net, x4"}
    assert_drawn_twice_alike("figure_5", tmp_path, settings, scores=files)
