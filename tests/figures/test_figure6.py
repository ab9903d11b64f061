from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.figures.figure6 import figure_6, frame_colour, hardest_regions
from bspa.figures.regions import Comparison, Photo, Region, compare, photos_of
from bspa.metrics.luma import to_y
from bspa.metrics.psnr_ssim import psnr_y, ssim_y
from tests.support.figure_files import assert_nothing_is_cut_off, packed_photos, run_script, weights_file

BICUBIC = partial(imresize, scale=4)
SOURCES = {"A": "Set5", "B": "scikit-image"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    shapes = [{"chelsea": (96, 120), "coffee": (64, 72)}, {"astronaut": (80, 64), "rocket": (16, 60)}]
    return [packed_photos(tmp_path_factory.mktemp("photos"), of_benchmark) for of_benchmark in shapes]


@pytest.fixture
def photos(files: list[Path]) -> list[Photo]:
    return photos_of(dict(zip("AB", map(PackedImages, files), strict=True)))


@pytest.fixture
def row(photos: list[Photo]) -> Comparison:
    region = Region(photo=photos[0], top=20, left=40, size=48)

    def repeat(lr: np.ndarray) -> np.ndarray:
        return lr.repeat(4, axis=0).repeat(4, axis=1)

    return compare([region], [repeat, BICUBIC, repeat])[0]


def test_the_hardest_inner_window_of_each_image_is_chosen_hardest_first(photos: list[Photo]) -> None:
    found = []
    regions = hardest_regions(photos, BICUBIC, size=32, count=3)
    for region in regions:
        photo = region.photo
        error = (to_y(BICUBIC(photo.lr)) - to_y(photo.hr)) ** 2
        starts = [range(16, side - 32 - 16 + 1, 8) for side in error.shape]
        means = {(t, s): error[t : t + 32, s : s + 32].mean() for t, s in itertools.product(*starts)}
        assert means[region.top, region.left] == pytest.approx(max(means.values()))
        found.append(max(means.values()))
    assert found == sorted(found, reverse=True)
    assert {region.photo for region in regions} == set(photos[:3])


def test_windows_larger_than_every_photograph_are_refused(photos: list[Photo]) -> None:
    with pytest.raises(ValueError, match=r"figures\.figure6\.size is 100"):
        hardest_regions(photos, BICUBIC, size=100, count=1)


@pytest.mark.parametrize("colour", [(200, 90, 30), (30, 60, 220), (250, 240, 40), (128, 128, 128)])
def test_the_frame_stands_out_from_the_photograph(colour: tuple[int, int, int]) -> None:
    image = np.full((40, 40, 3), colour, np.uint8)
    assert np.linalg.norm(np.array(to_rgb(frame_colour(image))) - np.array(colour) / 255) > 0.7


def test_large_images_are_shown_smaller_and_the_frame_with_them(row: Comparison) -> None:
    class Large(Photo):
        hr = np.random.default_rng(0).integers(0, 256, (1400, 1900, 3), np.uint8)  # type: ignore[assignment]
        lr = hr[::4, ::4]  # type: ignore[assignment]

    photo = Large(source="A", packed=row.region.photo.packed, number=0)
    region = Region(photo=photo, top=300, left=1200, size=60)
    large = Comparison(region=region, sr=[region.cut(photo.hr)])
    axes = figure_6([large], ["bicubic"], label="", sources=SOURCES).axes[0]
    assert axes.images[0].get_array().shape == (467, 634, 3)
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert {box.get_bbox().bounds for box in boxes} == {(399.5, 99.5, 20, 20)}


def test_every_crop_is_drawn_and_the_best_numbers_are_bold(row: Comparison) -> None:
    figure = figure_6([row], ["repeated", "bicubic", "repeated too"], label="net, x4", sources=SOURCES)
    whole, *crops = figure.axes
    np.testing.assert_array_equal(whole.images[0].get_array(), row.region.photo.hr)
    shown = [row.hr, row.sr[0], *row.sr]  # LR looks like the first, which repeats its pixels
    for axes, pixels in zip(crops, shown, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), pixels)
    written = [text.get_text() for text in figure.texts]
    assert {"net, x4", "chelsea (Set5)", "repeated too"} <= set(written)
    psnr = [f"{psnr_y(sr, row.hr, 0):.2f}" for sr in row.sr]
    ssim = [f"{ssim_y(sr, row.hr, 0):.4f}" for sr in row.sr]
    for decibels, similarity in zip(psnr, ssim, strict=True):
        first = rf"$\mathbf{{{decibels}}}$" if decibels == max(psnr, key=float) else decibels
        second = rf"$\mathbf{{{similarity}}}$" if similarity == max(ssim, key=float) else similarity
        assert f"{first} / {second}" in written


@pytest.mark.parametrize("methods", [1, 8])
def test_any_number_of_methods_fits(row: Comparison, methods: int) -> None:
    rows = [replace(row, sr=row.sr[:1] * methods)] * 2
    names = [f"a method's name {n}" for n in range(methods)]
    figure = figure_6(rows, names, label="net, x4", sources=SOURCES)
    assert_nothing_is_cut_off(figure)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 2 * (3 + methods)
    for one, other in itertools.combinations(boxes, 2):
        assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0


def test_the_script_draws_named_regions(tmp_path: Path, files: list[Path]) -> None:
    settings = {
        "label": "net x4", "methods": ["baseline", "BSPA"], "scale": 4, "border": "clamp", "tile": "auto",
        "benchmarks": ["A", "B"], "benchmark_labels": ["Set5", "scikit-image"], "size": 32,
        "regions": [{"source": "B", "image": "astronaut", "top": 3, "left": 5}],
    }  # fmt: skip
    weights = [weights_file(tmp_path / f"{n}.safetensors", n) for n in (0, 1)]
    run_script("figure_6", tmp_path, settings, packed=files, weights=weights)
