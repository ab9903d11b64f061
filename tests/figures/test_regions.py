from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bspa.data.packed import PackedImages
from bspa.figures.regions import Region, choose, load_upscaler, locate, upscaled_crops
from tests.support.figure_files import FSRCNN, enlarge, packed_photos, weights_file

SIZE = 8


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    shapes = {"chelsea": (60, 80), "coffee": (40, 44)}
    return PackedImages(packed_photos(tmp_path_factory.mktemp("photos"), shapes))


@st.composite
def candidates(draw):
    n = draw(st.integers(1, 60))
    numbers = st.lists(st.integers(0, 24), min_size=n, max_size=n)
    values = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    image = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    return [np.array(column) for column in (values, image, draw(numbers), draw(numbers))]


@settings(deadline=None)
@given(candidates(), st.integers(1, 12))
def test_windows_are_chosen_round_after_round_as_a_plain_loop_does(columns, count):
    left_over = sorted(
        (
            (-value, n, image, top, left)
            for n, (value, image, top, left) in enumerate(zip(*columns, strict=True))
        )
    )
    expected: list[int] = []
    taken: list[tuple[int, int, int]] = []
    while left_over and len(expected) < count:
        this_round: set[int] = set()
        for candidate in list(left_over):
            _, n, image, top, left = candidate
            overlaps = any(i == image and abs(t - top) < SIZE and abs(s - left) < SIZE for i, t, s in taken)
            if overlaps:
                left_over.remove(candidate)
            elif image not in this_round and len(expected) < count:
                expected.append(n)
                this_round.add(image)
                taken.append((image, top, left))
                left_over.remove(candidate)
    values, image, top, left = columns
    assert choose(values, image, top, left, size=SIZE, count=count).tolist() == expected


def test_windows_come_one_from_each_image_while_images_last():
    image = np.array([0, 0, 0, 1, 2])
    values = np.array([9.0, 8, 7, 2, 3])
    left = np.array([0, 4, 8, 0, 0])
    found = choose(values, image, np.zeros(5, int), left, size=8, count=5)
    assert found.tolist() == [0, 4, 3, 2]  # 1 overlaps 0


def test_a_region_is_found_by_the_images_id(images):
    region = locate(images, {"image": "coffee", "top": 8, "left": 36}, size=8, key="k", file=2)
    assert region == Region(file=2, image=1, top=8, left=36, size=8)
    assert np.array_equal(region.cut(images.hr(1)), images.hr(1)[8:16, 36:44])


@pytest.mark.parametrize(
    ("wanted", "size", "message"),
    [
        (("cofee", 0, 0), 8, r"no image 'cofee'; the 2 images are chelsea, coffee"),
        (("coffee", 33, 0), 8, r"8x8 pixels at top 33, left 0 is not inside image coffee \(44x40\)"),
        (("coffee", 0, 37), 8, r"top may be 0 to 32, left 0 to 36"),
        (("coffee", 0, -1), 8, r"left -1 is not inside"),
        (("coffee", 0, 0), 41, r"too small"),
    ],
)  # fmt: skip
def test_a_region_that_is_not_there_is_refused(images, wanted, size, message):
    region = dict(zip(("image", "top", "left"), wanted, strict=True))
    with pytest.raises(ValueError, match=r"figures\.figure4\.regions: .*" + message):
        locate(images, region, size=size, key="figures.figure4.regions")


def test_whole_images_are_enlarged_once_each_and_cut(images):
    seen = []

    def upscale(lr):
        seen.append(lr.shape)
        return enlarge(images)(lr)

    regions = [Region(file=0, image=i, top=t, left=t, size=8) for i, t in ((1, 0), (0, 20), (1, 8))]
    crops = upscaled_crops(upscale, [images], regions)
    assert seen == [(10, 11, 3), (15, 20, 3)]
    for crop, region in zip(crops, regions, strict=True):
        whole = enlarge(images)(images.lr(region.image))
        assert np.array_equal(crop, region.cut(whole))


def test_delivered_weights_become_an_upscaler(images, tmp_path):
    network = {**FSRCNN, "scale": 4, "tile": "auto", "device": torch.device("cpu")}
    sr = load_upscaler(weights_file(tmp_path / "w.safetensors", 0), **network)(images.lr(1))
    assert sr.shape == (40, 44, 3)
    assert sr.dtype == np.uint8
    with pytest.raises(ValueError, match=r"x2\.safetensors: these are weights for scale 2"):
        load_upscaler(weights_file(tmp_path / "x2.safetensors", 0, scale=2), **network)
