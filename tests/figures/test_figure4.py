from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import Normalize

from bspa.data.packed import PackedImages
from bspa.figures.figure4 import COLOURS, Comparison, figure_4, most_different
from bspa.metrics.luma import to_y
from tests.support.figure_files import (
    FSRCNN,
    assert_drawn_twice_alike,
    assert_nothing_is_cut_off,
    packed_photos,
    run_script,
    score_file,
    scores_of,
    weights_file,
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    shapes = {"chelsea": (64, 96), "coffee": (64, 64)}
    return packed_photos(tmp_path_factory.mktemp("photos"), shapes)


@pytest.fixture
def images(packed):
    return PackedImages(packed)


PLACES = {"image": [0, 0, 0, 1, 1], "top": [0, 0, 32, 0, 32], "left": [0, 64, 64, 0, 32]}
UNIFORM = [0.010, 0.020, 0.030, 0.001, 0.002]
INVERSE = [0.012, 0.015, 0.031, 0.002, 0.001]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
    noisy = [np.clip(hr + rng.normal(0, s, hr.shape), 0, 255).astype(np.uint8) for s in (9, 5)]
    return [Comparison(name=f"img{n}", hr=hr[n], sr=[sr[n] for sr in noisy]) for n in range(2)]


def test_regions_are_where_the_two_differ_most_either_way(images, caplog):
    uniform, inverse = scores_of(UNIFORM, **PLACES), scores_of(INVERSE, **PLACES)
    with caplog.at_level("INFO", "bspa"):
        regions = most_different(images, uniform, inverse, size=32, count=3)
    assert [(r.image, r.top, r.left) for r in regions] == [(0, 0, 64), (1, 0, 0), (0, 0, 0)]
    assert {(r.file, r.size) for r in regions} == {(0, 32)}
    assert "region: image chelsea, top 0, left 64; MSE 0.02 and 0.015" in caplog.text


def test_sub_images_of_another_size_or_of_other_images_are_refused(images):
    scores = scores_of(UNIFORM, **PLACES)
    with pytest.raises(ValueError, match=r"sides of 32 pixels, the regions to show 48; .*figure4\.regions"):
        most_different(images, scores, scores, size=48, count=1)
    outside = scores_of(UNIFORM, **{**PLACES, "left": [0, 64, 96, 0, 32]})
    with pytest.raises(ValueError, match="does not fit image chelsea"):
        most_different(images, outside, outside, size=32, count=1)


def test_errors_and_psnr_are_those_of_plain_formulas(rows):
    row = rows[0]
    for sr, error, psnr in zip(row.sr, row.errors, row.psnr, strict=True):
        for y, x in ((0, 0), (7, 3)):
            differences = [abs(int(a) - int(b)) for a, b in zip(sr[y, x], row.hr[y, x], strict=True)]
            assert error[y, x] == pytest.approx(sum(differences) / 3)
        mse = np.mean((to_y(sr) - to_y(row.hr)) ** 2)
        assert psnr == pytest.approx(10 * math.log10(255**2 / mse))
    assert Comparison(name="", hr=row.hr, sr=[row.hr]).psnr == [math.inf]


def test_each_row_shows_hr_the_outputs_and_their_errors_on_one_scale(rows):
    figure = figure_4(rows, ["uniform", "inverse"], label="net, x4")
    *panels, bar = figure.axes
    end = np.quantile([row.errors for row in rows], 0.995)
    for n, row in enumerate(rows):
        shown = [axes.images[0].get_array() for axes in panels[5 * n : 5 * n + 5]]
        for pixels, expected in zip(shown, [row.hr, *row.sr], strict=False):
            np.testing.assert_array_equal(pixels, expected)
        for pixels, error in zip(shown[3:], row.errors, strict=True):
            colours = colormaps[COLOURS](Normalize(0, end)(error), bytes=True)[..., :3]
            np.testing.assert_array_equal(pixels, colours)
    assert bar.get_ylim() == pytest.approx((0, end))
    written = [text.get_text() for text in figure.texts]
    titles = ["HR", "uniform SR", "inverse SR", "error, uniform", "error, inverse"]
    assert written[:6] == ["net, x4", *titles]
    for row in rows:
        assert f"{row.psnr[1]:.2f} dB" in written
        assert f"{row.errors[0].mean():.2f}" in written


def test_exact_outputs_can_be_drawn(rows):
    exact = Comparison(name="same", hr=rows[0].hr, sr=[rows[0].hr] * 2)
    figure = figure_4([exact], ["a", "b"], label="")
    assert_nothing_is_cut_off(figure)
    assert [text.get_text() for text in figure.texts].count("exact") == 2


def test_the_script_draws_the_figure(tmp_path, packed):
    settings = {
        "model": FSRCNN, "scale": 4, "methods": ["uniform", "inverse"], "size": 32, "count": 2,
        "regions": [], "tile": "auto", "label": "net, x4",
    }  # fmt: skip
    scores = [score_file(tmp_path / f"{n}.h5", mse, **PLACES) for n, mse in enumerate((UNIFORM, INVERSE))]
    weights = [weights_file(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1)]
    files = {"packed": packed, "scores": scores, "weights": weights}
    chosen = assert_drawn_twice_alike("figure_4", tmp_path, settings, **files)
    regions = [{"image": "coffee", "top": 5, "left": 32}]
    _, given = run_script("figure_4", tmp_path, {**settings, "regions": regions}, **files)
    assert given != chosen
