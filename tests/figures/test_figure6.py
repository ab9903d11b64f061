from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.figures.figure6 import figure_6, given_regions, hardest_regions, make_row, window_means
from bspa.figures.regions import Region
from bspa.metrics.luma import to_y
from bspa.metrics.psnr_ssim import psnr_y, ssim_y
from tests.support.figure_files import (
    FSRCNN,
    assert_drawn_twice_alike,
    assert_nothing_is_cut_off,
    enlarge,
    packed_photos,
    run_script,
    weights_file,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    shapes = [{"chelsea": (96, 120), "coffee": (64, 72)}, {"astronaut": (80, 64), "rocket": (16, 60)}]
    return [packed_photos(tmp_path_factory.mktemp("photos"), of_benchmark) for of_benchmark in shapes]


@pytest.fixture
def benchmarks(files):
    return dict(zip(("A", "B"), map(PackedImages, files), strict=True))


BICUBIC = partial(imresize, scale=4)


def test_means_over_windows_are_those_of_slices():
    values = np.random.default_rng(0).uniform(0, 60_000, (30, 41))
    windows = np.array([[0, 0], [3, 30], [19, 0], [19, 30], [7, 8]])
    expected = [values[top : top + 11, left : left + 11].mean() for top, left in windows]
    np.testing.assert_allclose(window_means(values, windows, 11), expected, rtol=1e-10)


def test_the_hardest_window_of_each_image_is_chosen_hardest_first(benchmarks, caplog):
    with caplog.at_level("INFO", "bspa"):
        regions = hardest_regions(benchmarks, BICUBIC, size=32, count=3)
    found = []
    for region in regions:
        packed = benchmarks["AB"[region.file]]
        error = (to_y(BICUBIC(packed.lr(region.image))) - to_y(packed.hr(region.image))) ** 2
        height, width = error.shape
        starts = [sorted({*range(0, side - 31, 8), side - 32}) for side in (height, width)]
        means = {(t, s): error[t : t + 32, s : s + 32].mean() for t in starts[0] for s in starts[1]}
        assert means[region.top, region.left] == pytest.approx(max(means.values()))
        found.append(max(means.values()))
    assert {(region.file, region.image) for region in regions} == {(0, 0), (0, 1), (1, 0)}
    assert found == sorted(found, reverse=True)
    assert "region: {benchmark: B, image: 'astronaut', top: " in caplog.text


def test_windows_without_room_are_refused(benchmarks):
    with pytest.raises(ValueError, match=r"figures\.figure6\.size is 100, but every image of A, B"):
        hardest_regions(benchmarks, BICUBIC, size=100, count=1)
    for choose_regions in (
        partial(hardest_regions, benchmarks, BICUBIC, count=1),
        partial(given_regions, benchmarks, []),
    ):
        with pytest.raises(ValueError, match=r"figures\.figure6\.size is 10; SSIM needs regions of 11"):
            choose_regions(size=10)


def test_given_regions_are_found_and_others_refused(benchmarks):
    wanted = {"benchmark": "B", "image": "rocket", "top": 1, "left": 48}
    assert given_regions(benchmarks, [wanted], size=12) == [Region(file=1, image=1, top=1, left=48, size=12)]
    for change, message in (
        ({"benchmark": "C"}, r"there is no benchmark 'C'; allowed are A, B"),
        ({"benchmark": "A"}, r"A: there is no image 'rocket'; the 2 images are chelsea, coffee"),
        ({"top": 5}, r"B: a window of 12x12 pixels at top 5, left 48 is not inside image rocket \(60x16\)"),
    ):
        with pytest.raises(ValueError, match=r"figures\.figure6\.regions: " + message):
            given_regions(benchmarks, [{**wanted, **change}], size=12)


@pytest.fixture
def row(benchmarks):
    images = benchmarks["A"]
    region = Region(file=0, image=0, top=20, left=40, size=48)
    sr = [region.cut(upscale(images.lr(0))) for upscale in (enlarge(images), BICUBIC, enlarge(images))]
    return make_row("A: chelsea", images.hr(0), region, sr)


def test_crops_are_scored_alone_without_cutting_their_border(row):
    for sr, psnr, ssim in zip(row.sr, row.psnr, row.ssim, strict=True):
        assert (psnr, ssim) == (psnr_y(sr, row.hr, 0), ssim_y(sr, row.hr, 0))


def test_large_images_are_shown_smaller_and_the_box_with_them():
    hr = np.random.default_rng(0).integers(0, 256, (1400, 1900, 3), np.uint8)
    region = Region(file=0, image=0, top=300, left=1200, size=60)
    row = make_row("big", hr, region, [region.cut(hr)])
    assert row.overview.shape == (467, 634, 3)
    figure = figure_6([row], ["bicubic"], label="")
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert {box.get_bbox().bounds for box in boxes} == {(399.5, 99.5, 20, 20)}


def test_every_crop_is_drawn_and_the_best_numbers_are_bold(row):
    figure = figure_6([row, row], ["repeated", "bicubic", "repeated too"], label="net, x4")
    whole, *crops = figure.axes[:5]
    np.testing.assert_array_equal(whole.images[0].get_array(), row.overview)
    for axes, pixels in zip(crops, [row.hr, *row.sr], strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), pixels)
    written = [text.get_text() for text in figure.texts]
    psnr, ssim = [f"{value:.2f}" for value in row.psnr], [f"{value:.4f}" for value in row.ssim]
    best = int(np.argmax(row.psnr)), int(np.argmax(row.ssim))
    for n in range(3):
        decibels = rf"$\mathbf{{{psnr[n]}}}$" if psnr[n] == psnr[best[0]] else psnr[n]
        similarity = rf"$\mathbf{{{ssim[n]}}}$" if ssim[n] == ssim[best[1]] else ssim[n]
        assert f"{decibels} / {similarity}" in written
    assert sum(r"\mathbf" in text for text in written) in (2, 4)


@pytest.mark.parametrize("methods", [1, 4, 8])
def test_any_number_of_methods_fits(row, methods):
    rows = [
        replace(row, sr=row.sr[:1] * methods),
        replace(row, overview=row.overview[:, :30], sr=row.sr[:1] * methods),
    ]
    figure = figure_6(rows, [f"a method's name {n}" for n in range(methods)], label="net, x4")
    assert_nothing_is_cut_off(figure)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 2 * (2 + methods)
    for one, other in itertools.combinations(boxes, 2):
        assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0


def test_the_script_draws_the_figure(tmp_path, files):
    settings = {
        "model": FSRCNN, "scale": 4, "border": "clamp", "benchmarks": ["A", "B"],
        "methods": ["baseline", "BSPA"], "size": 32, "count": 2, "regions": [], "tile": "auto",
        "label": "net x4, A, B",
    }  # fmt: skip
    weights = [weights_file(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1)]
    chosen = assert_drawn_twice_alike("figure_6", tmp_path, settings, packed=files, weights=weights)
    regions = [{"benchmark": "B", "image": "astronaut", "top": 3, "left": 5}]
    _, given = run_script(
        "figure_6", tmp_path, {**settings, "regions": regions}, packed=files, weights=weights
    )
    assert given != chosen
