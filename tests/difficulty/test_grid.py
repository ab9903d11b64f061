from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bspa.difficulty.grid import count_windows, grid, starts
from bspa.difficulty.windows import read_windows, write_windows


@pytest.mark.parametrize(
    ("length", "size", "step", "threshold", "expected"),
    [
        (128, 128, 64, 48, [0]),
        (176, 128, 64, 48, [0]),  # 48 left over: not more than the threshold
        (177, 128, 64, 48, [0, 49]),
        (192, 128, 64, 48, [0, 64]),
        (241, 128, 64, 48, [0, 64, 113]),
        (240, 129, 63, 48, [0, 63]),
        (10, 4, 5, 0, [0, 5, 6]),  # a step beyond the window leaves gaps
    ],
)
def test_starts(length: int, size: int, step: int, threshold: int, expected: list[int]) -> None:
    result = starts(length, size, step, threshold)
    assert result.dtype == np.int64
    assert result.tolist() == expected


@given(height=st.integers(20, 90), width=st.integers(20, 90))
def test_grid_is_row_major(height: int, width: int) -> None:
    windows = grid(height, width, size=20, step=8, threshold=5)
    expected = [[t, left] for t in starts(height, 20, 8, 5) for left in starts(width, 20, 8, 5)]
    assert windows.tolist() == expected
    assert count_windows([(height, width)] * 3, size=20, step=8, threshold=5) == 3 * len(windows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((127, 128, 64, 48), "127 pixels .* 128"),
        ((100, 0, 64, 48), "size is 0"),
        ((100, 10, 0, 48), "step 0"),
        ((100, 10, 5, -1), "threshold -1"),
    ],
)
def test_impossible_grids_are_refused(arguments: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        starts(*arguments)


def test_windows_survive_a_round_trip(tmp_path: Path) -> None:
    shapes = np.array([[24, 30], [12, 12], [40, 16]])
    path = tmp_path / "deep" / "x2.h5"
    count = write_windows(path, shapes, size=12, step=6, threshold=4, scale=2, key="k")
    windows = read_windows(path)
    assert (windows.size, windows.step, windows.threshold) == (12, 6, 4)
    assert len(windows) == count == count_windows(shapes, size=12, step=6, threshold=4)
    assert {a.dtype for a in (windows.image, windows.top, windows.left)} == {np.dtype(np.int32)}
    for number, (height, width) in enumerate(shapes):
        mine = windows.image == number
        expected = grid(height, width, size=12, step=6, threshold=4)
        assert np.array_equal(np.stack([windows.top[mine], windows.left[mine]], axis=1), expected)
    assert (np.diff(windows.image) >= 0).all()
    with h5py.File(path, "r+") as file:
        assert file.attrs["key"] == "k"
        file.attrs["format_version"] = 99
    with pytest.raises(ValueError, match=r"version 99.*crop_sub_images"):
        read_windows(path)
