from __future__ import annotations

import numpy as np
import pytest

from bspa.data.crops import Pixels, Positions, check_windows, crop_pairs
from tests.support.coordinates import CoordinateImages

SIZE, SCALE = 12, 3


@pytest.fixture(scope="module")
def images() -> CoordinateImages:
    return CoordinateImages((60, 48), (12, 12), (36, 99), scale=SCALE)


def windows(*rows: tuple[int, int, int]) -> Positions:
    return np.array(rows, np.int32).T


# Image, top, left: at every edge, and images in any order.
WINDOWS = windows((2, 24, 87), (0, 0, 0), (0, 48, 36), (1, 0, 0), (2, 3, 6), (0, 9, 3))


def cut(images: CoordinateImages, image: int, top: int, left: int) -> tuple[Pixels, Pixels]:
    """One LR and HR window, the plain way."""
    lr = images.lr(image)[top // SCALE : (top + SIZE) // SCALE, left // SCALE : (left + SIZE) // SCALE]
    return lr, images.hr(image)[top : top + SIZE, left : left + SIZE]


def test_pairs_are_the_pixels_at_their_windows(images: CoordinateImages) -> None:
    lr, hr = crop_pairs(images, *WINDOWS, SIZE)
    assert (lr.shape, hr.shape) == ((6, 4, 4, 3), (6, 12, 12, 3))
    for n, window in enumerate(WINDOWS.T):
        for found, expected in zip((lr[n], hr[n]), cut(images, *window), strict=True):
            assert np.array_equal(found, expected), window


def test_pairs_go_to_their_places_and_nowhere_else(images: CoordinateImages) -> None:
    out = np.full((8, 4, 4, 3), 255, np.uint8), np.full((8, 12, 12, 3), 255, np.uint8)
    places = np.array([7, 0, 3, 1, 6, 4])
    assert crop_pairs(images, *WINDOWS, SIZE, out=out, places=places) == out
    for place, window in zip(places, WINDOWS.T, strict=True):
        for found, expected in zip(out, cut(images, *window), strict=True):
            assert np.array_equal(found[place], expected), window
    assert all((pixels[[2, 5]] == 255).all() for pixels in out)


def test_no_window_gives_no_pair(images: CoordinateImages) -> None:
    lr, hr = crop_pairs(images, *WINDOWS[:, :0], SIZE)
    assert (lr.shape, hr.shape) == ((0, 4, 4, 3), (0, 12, 12, 3))


@pytest.mark.parametrize(
    ("window", "size", "message"),
    [
        ((0, 0, 0), 10, "windows of 10 HR pixels do not divide by the scale, 3"),
        ((3, 0, 0), 12, "a window is on image 3 of 3 images"),
        ((-1, 0, 0), 12, "a window is on image -1 of 3 images"),
        ((0, 51, 0), 12, r"window 1 \(12x12 HR pixels at top 51, left 0\) does not fit image photo0 \(48x60"),
        ((0, 0, 39), 12, "window 1 .*left 39"),
        ((0, -3, 0), 12, "window 1 .*top -3"),
        ((0, 0, 1), 12, "window 1 .*left 1"),
    ],
)
def test_windows_outside_the_images_or_off_the_grid_are_refused(
    images: CoordinateImages, window: tuple[int, int, int], size: int, message: str
) -> None:
    check_windows(images, *WINDOWS, SIZE)
    with pytest.raises(ValueError, match=f"{message}.*run crop_sub_images again"):
        check_windows(images, *windows((0, 0, 0), window), size)
