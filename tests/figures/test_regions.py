from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bspa.data.packed import PackedImages
from bspa.figures.regions import MARGIN, Photo, Region, choose, compare, locate, photos_of
from bspa.metrics.psnr_ssim import psnr_y
from tests.support.figure_files import packed_photos

SIZE = 8


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Photo]:
    folder = tmp_path_factory.mktemp("photos")
    first = packed_photos(folder / "a", {"chelsea": (60, 80), "coffee": (40, 44)})
    second = packed_photos(folder / "b", {"coffee": (32, 24)})
    return photos_of({"A": PackedImages(first), "B": PackedImages(second)})


def places_chosen(values: Any, windows: Any, count: int, photos: int = 4) -> list[tuple[int, int, int]]:
    """Choose among windows of photographs of 80x80 pixels."""
    packed = SimpleNamespace(hr_shapes=np.full((photos, 2), 80), ids=[str(n) for n in range(photos)])
    shaped: Any = [Photo(source="A", packed=packed, number=n) for n in range(photos)]
    regions = choose(shaped, np.array(values), np.array(windows), size=SIZE, count=count)
    return [(region.photo.number, region.top, region.left) for region in regions]


@st.composite
def candidates(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 60))
    corners = st.tuples(st.integers(0, 3), *[st.integers(MARGIN, MARGIN + 24)] * 2)
    values = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    return np.array(values), np.array(draw(st.lists(corners, min_size=n, max_size=n)))


@settings(deadline=None, max_examples=40)
@given(candidates(), st.integers(1, 12))
def test_windows_are_chosen_round_after_round_as_a_plain_loop_does(
    drawn: tuple[np.ndarray, np.ndarray], count: int
) -> None:
    values, windows = drawn
    left_over = sorted(range(len(values)), key=lambda n: (-values[n], n))
    expected: list[tuple[int, int, int]] = []
    while left_over and len(expected) < count:
        this_round: set[int] = set()
        for n in list(left_over):
            photo, top, left = windows[n].tolist()
            if any(p == photo and abs(t - top) < SIZE and abs(s - left) < SIZE for p, t, s in expected):
                left_over.remove(n)
            elif photo not in this_round and len(expected) < count:
                this_round.add(photo)
                expected.append((photo, top, left))
                left_over.remove(n)
    assert places_chosen(values, windows, count) == expected


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([(0, 0, 20), (0, 20, 57), (0, 60, 20), (0, 20, 20)], [(0, 20, 20)]),  # only the last is inside
        ([(0, 0, 20), (0, 60, 30)], [(0, 0, 20), (0, 60, 30)]),  # none is
    ],
)
def test_windows_at_the_border_are_taken_only_if_there_is_no_other(
    windows: list[tuple[int, int, int]], expected: list[tuple[int, int, int]]
) -> None:
    assert places_chosen(np.arange(len(windows))[::-1], windows, 3) == expected


def test_a_region_is_found_by_source_and_image(photos: list[Photo]) -> None:
    region = locate(photos, source="B", image="coffee", top=8, left=16, size=8, key="k")
    assert region == Region(photo=photos[2], top=8, left=16, size=8)
    assert np.array_equal(region.cut(photos[2].hr), photos[2].hr[8:16, 16:24])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "cofee"}, "A has no image 'cofee'; allowed: chelsea, coffee"),
        ({"source": "B", "image": "chelsea"}, "B has no image 'chelsea'; allowed: coffee"),
        ({"top": 33}, "top 33, left 0 of coffee; allowed: .* 40 rows and 44 columns"),
        ({"left": -1}, "left -1"),
        ({"size": 41}, "41x41"),
    ],
)
def test_a_region_that_is_not_there_is_refused(
    photos: list[Photo], changes: dict[str, Any], message: str
) -> None:
    wanted: dict[str, Any] = {"source": "A", "image": "coffee", "top": 0, "left": 0, "size": 8}
    with pytest.raises(ValueError, match=r"figures\.figure4\.regions: .*" + message):
        locate(photos, **{**wanted, **changes}, key="figures.figure4.regions")


def test_whole_images_are_enlarged_once_each_and_cut(photos: list[Photo]) -> None:
    seen = []

    def enlarge(lr: np.ndarray) -> np.ndarray:
        seen.append(lr.shape)
        return lr.repeat(4, axis=0).repeat(4, axis=1)

    regions = [Region(photo=photos[n], top=t, left=t, size=12) for n, t in ((1, 0), (0, 20), (1, 8))]
    rows = compare(regions, [enlarge, lambda lr: 255 - enlarge(lr)])
    assert seen == [(10, 11, 3), (15, 20, 3)] * 2
    for row, region in zip(rows, regions, strict=True):
        crop = region.cut(region.photo.lr.repeat(4, axis=0).repeat(4, axis=1))
        np.testing.assert_array_equal(row.sr, [crop, 255 - crop])
        assert np.array_equal(row.hr, region.cut(region.photo.hr))
        assert row.psnr == [psnr_y(sr, row.hr, 0) for sr in row.sr]
