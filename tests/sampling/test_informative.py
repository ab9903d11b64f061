from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from bspa.sampling.error_maps import error_map, shave_width, write_maps
from bspa.sampling.maps import ErrorMaps
from bspa.sampling.patch_selection import hardest, select_patches, thin_out
from bspa.sampling.selections import Selection, read_selection, write_selection
from tests.support.noise import noise, pack_noise


class FakeMaps(list[NDArray[np.float32]]):
    """Maps in memory, with the interface of `bspa.sampling.maps.ErrorMaps`."""

    def __init__(self, *maps: ArrayLike, patch: int = 24, scale: int = 2):
        super().__init__(np.asarray(values, np.float32) for values in maps)
        self.patch, self.scale = patch, scale
        self.shapes = np.array([values.shape for values in self], np.int64).reshape(-1, 2)


def of_image(selection: Selection, i: int) -> NDArray[np.int32]:
    return selection.offsets[selection.bounds[i] : selection.bounds[i + 1]]


def select(maps: Any, **options: Any) -> Selection:
    return select_patches(maps, **{"share": 0.3, "selection": "greedy", "overlap": 0.5, "seed": 0, **options})


def smooth(rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    """A map as photographs give it: neighbours have similar errors."""
    fine = np.random.default_rng(seed).random((rows + 8, columns + 8))
    return np.lib.stride_tricks.sliding_window_view(fine, (9, 9)).mean(axis=(2, 3)).astype(np.float32)


def brute_force_psnr(
    hr: NDArray[np.uint8], lr: NDArray[np.uint8], top: int, left: int, *, patch: int, scale: int
) -> float:
    """PSNR of one patch against torch's own bilinear enlargement."""
    pixels = torch.from_numpy(lr.astype(np.float64) / 255).permute(2, 0, 1)[None]
    enlarged = torch.nn.functional.interpolate(
        pixels, scale_factor=scale, mode="bilinear", align_corners=False
    ).clamp(0, 1)[0]
    shave = scale + 6
    rows, columns = (slice(start * scale + shave, start * scale + patch - shave) for start in (top, left))
    errors = enlarged[:, rows, columns].permute(1, 2, 0).numpy() - hr[rows, columns] / 255
    return float(-10 * np.log10(np.mean(errors**2)))


def pixel_overlap(first: Any, second: Any, side: int) -> float:
    """Intersection over union of two windows, by counting their pixels."""
    windows = [
        {(top + y, left + x) for y in range(side) for x in range(side)} for top, left in (first, second)
    ]
    return len(windows[0] & windows[1]) / len(windows[0] | windows[1])


@pytest.mark.parametrize(("scale", "patch"), [(2, 18), (3, 30), (4, 36)])
def test_maps_hold_the_psnr_of_every_patch(scale: int, patch: int) -> None:
    height, width = 43, 51
    lr, hr = noise(height, width), noise(height * scale, width * scale, seed=1)
    found = error_map(hr, lr, patch=patch, scale=scale)
    rows, columns = height - patch // scale + 1, width - patch // scale + 1
    assert found.shape == (rows, columns)
    assert found.dtype == np.float32
    rng = np.random.default_rng(2)
    places = [(0, 0), (rows - 1, columns - 1), *rng.integers(0, (rows, columns), (6, 2)).tolist()]
    expected = [brute_force_psnr(hr, lr, *place, patch=patch, scale=scale) for place in places]
    errors = -10 * np.log10([found[tuple(place)] for place in places]) - expected
    assert np.abs(errors).max() < 1e-5, errors


def test_maps_do_not_depend_on_the_bands_they_are_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    lr, hr = noise(40, 30), noise(80, 60, seed=1)
    expected = error_map(hr, lr, patch=20, scale=2)
    for rows in (1, 7, 80):
        monkeypatch.setattr("bspa.sampling.error_maps.BAND_ROWS", rows)
        assert np.array_equal(error_map(hr, lr, patch=20, scale=2), expected)


def test_equal_patches_have_equal_errors_wherever_they_lie() -> None:
    # Differences of sums in floating point would leave traces of the pixels above and to the left.
    lr, hr = np.tile(noise(6, 6), (10, 10, 1)), np.tile(noise(18, 18, seed=1), (10, 10, 1))
    inside = error_map(hr, lr, patch=21, scale=3)[1:-1, 1:-1]
    assert np.array_equal(inside[6:], inside[:-6])
    assert np.array_equal(inside[:, 6:], inside[:, :-6])
    lr[30:], hr[90:] = 7, 7
    assert np.array_equal(error_map(hr, lr, patch=21, scale=3)[30:], np.zeros((24, 54)))


@pytest.mark.parametrize(("patch", "scale", "least"), [(16, 2, 18), (18, 3, 21), (20, 4, 24), (30, 4, 24)])
def test_patches_of_which_nothing_is_left_are_refused(patch: int, scale: int, least: int) -> None:
    with pytest.raises(ValueError, match=rf"sub_images: x{scale}: size is {patch}; .* {least}"):
        shave_width(patch, scale)
    assert shave_width(least, scale) == scale + 6


@pytest.mark.parametrize("threads", [1, 3])
def test_the_maps_of_all_images_in_one_file(tmp_path: Path, threads: int) -> None:
    images = pack_noise(tmp_path, (60, 42), (31, 90), (24, 24), scale=2)
    write_maps(tmp_path / "maps.h5", images, patch=24, threads=threads, key="k")
    maps = ErrorMaps(tmp_path / "maps.h5")
    assert (maps.patch, maps.scale) == (24, 2)
    assert maps.shapes.tolist() == [[19, 10], [4, 34], [1, 1]]
    assert len(maps) == 3
    for i in range(3):
        assert np.array_equal(maps[i], error_map(images.hr(i), images.lr(i), patch=24, scale=2))
    with h5py.File(tmp_path / "maps.h5") as file:
        assert file.attrs["key"] == "k"
    with pytest.raises(ValueError, match=r"image photo2 \(24x24\) .* 26 HR pixels.*sub_images: x2"):
        write_maps(tmp_path / "other.h5", images, patch=26, threads=1, key="")


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_the_hardest_are_exactly_the_largest_errors_and_ties_go_by_position(seed: int, count: int) -> None:
    mse = np.random.default_rng(seed).integers(0, 9, (6, 10)).astype(np.float32)  # many ties
    expected = sorted(np.ndindex(mse.shape), key=lambda place: (-mse[place], place))[:count]
    assert [tuple(place) for place in hardest(mse, count).tolist()] == expected


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.8, 1.0]))
@settings(max_examples=25, deadline=None)
def test_thinning_keeps_a_candidate_unless_it_overlaps_one_kept_before(
    seed: int, side: int, overlap: float
) -> None:
    rng = np.random.default_rng(seed)
    places = np.argwhere(rng.random((9, 12)) < 0.5)
    candidates = rng.permutation(places if len(places) else np.array([[3, 4]])).astype(np.int32)
    expected: list[Any] = []
    for candidate in candidates.tolist():
        if all(pixel_overlap(candidate, other, side) <= overlap for other in expected):
            expected.append(candidate)
    assert thin_out(candidates, side, overlap).tolist() == expected


def test_greedy_chooses_the_hardest_share_of_every_image() -> None:
    maps = FakeMaps(smooth(20, 31), smooth(3, 2, seed=1), smooth(1, 1, seed=2))
    chosen = select(maps, share=0.1)
    assert np.diff(chosen.bounds).tolist() == [62, 1, 1]
    for i, mse in enumerate(maps):
        top, left = of_image(chosen, i).T
        assert np.array_equal(np.sort(mse[top, left]), np.sort(mse, axis=None)[-len(top) :])
    assert len(of_image(select(maps, share=1), 0)) == 620


def test_nms_thins_out_from_the_hardest_on_and_darts_in_random_order() -> None:
    maps = FakeMaps(*[smooth(30, 40)] * 2, patch=20, scale=2)
    nms, darts = (select(maps, selection=selection) for selection in ("nms", "darts"))
    for i, mse in enumerate(maps):
        candidates = hardest(mse, round(0.3 * mse.size))
        assert np.array_equal(of_image(nms, i), thin_out(candidates, 10, 0.5))
        thrown = of_image(darts, i)
        assert set(map(tuple, thrown.tolist())) < set(map(tuple, candidates.tolist()))
        # They overlap no more than allowed, and leave no room for another.
        assert np.array_equal(thin_out(np.concatenate([thrown, candidates]), 10, 0.5), thrown)
    assert np.array_equal(select(maps, selection="darts").offsets, darts.offsets)
    assert not np.array_equal(of_image(select(maps, selection="darts", seed=1), 0), of_image(darts, 0))
    assert not np.array_equal(of_image(darts, 1), of_image(darts, 0))


def test_darts_do_not_prefer_the_hardest() -> None:
    # 40 candidates that do not overlap, thrown 200 times: the mean rank of the first is that of a fair draw.
    mse = np.arange(40, dtype=np.float32).reshape(5, 8)
    maps = FakeMaps(*[mse] * 200, patch=2, scale=2)
    chosen = select(maps, share=1, selection="darts", overlap=0)
    assert len(chosen.offsets) == 200 * 40
    first = chosen.offsets[chosen.bounds[:-1]] @ [8, 1]
    assert abs(first.mean() - 19.5) < 4 * np.sqrt((40**2 - 1) / 12 / 200), first.mean()


def test_selections_survive_their_file(tmp_path: Path) -> None:
    selection = select(FakeMaps(smooth(20, 30), smooth(12, 25, seed=1)), selection="nms")
    write_selection(tmp_path / "nms.h5", selection, key="k", selection="nms")
    read = read_selection(tmp_path / "nms.h5")
    assert read.offsets.dtype == np.int32
    assert all(map(np.array_equal, read, selection))
    with h5py.File(tmp_path / "nms.h5", "a") as file:
        assert (file.attrs["key"], file.attrs["selection"]) == ("k", "nms")
        file["bound"][-1] += 1
    with pytest.raises(ValueError, match=r"nms\.h5.*bounds .* select_patches"):
        read_selection(tmp_path / "nms.h5")
    with pytest.raises(ValueError, match=r"nms\.h5.*map_informativeness"):
        ErrorMaps(tmp_path / "nms.h5")
