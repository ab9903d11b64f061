"""Degraded LR images: what each step does, and that each image's draw is its own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.data import chelsea

from bspa.data.degradation import degrade
from bspa.data.inspection import make_manifest
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images
from bspa.data.resize import imresize
from bspa.data.sources import list_files

STEPS = [{"blur": {"sigma": [0.2, 2.0]}}, {"noise": {"sigma": [1, 10]}}, {"jpeg": {"quality": [30, 95]}}]
PHOTO = chelsea()[:240, :320]


def shrink(image: np.ndarray) -> np.ndarray:
    return imresize(image, 1 / 4)


def degraded(steps: Any, **more: Any) -> tuple[np.ndarray, list[dict[str, Any]]]:
    return degrade(PHOTO, shrink, steps, **({"seed": 0, "scale": 4, "sha256": "ab" * 32} | more))


def test_blur_is_a_gaussian_on_hr() -> None:
    lr, drawn = degraded([{"blur": {"sigma": [1.5, 1.5]}}])
    assert drawn == [{"blur": {"sigma": 1.5}}]
    blurred = gaussian_filter(PHOTO.astype(float), (1.5, 1.5, 0), mode="nearest")
    assert np.array_equal(lr, shrink(np.floor(blurred + 0.5).astype(np.uint8)))
    assert np.array_equal(degraded([{"blur": {"sigma": [0, 0]}}])[0], shrink(PHOTO))


def test_noise_has_its_deviation() -> None:
    lr, drawn = degraded([{"noise": {"sigma": [4, 9]}}])
    sigma = drawn[0]["noise"]["sigma"]
    assert 4 <= sigma <= 9
    clean = shrink(PHOTO)
    middle = (clean > 50) & (clean < 200)  # where nothing is clipped
    assert np.std((lr.astype(float) - clean)[middle]) == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.02)


def test_jpeg_is_pillows() -> None:
    lr, drawn = degraded([{"jpeg": {"quality": [30, 95]}}])
    quality = drawn[0]["jpeg"]["quality"]
    assert 30 <= quality <= 95
    file = io.BytesIO()
    Image.fromarray(shrink(PHOTO)).save(file, "JPEG", quality=quality)
    assert np.array_equal(lr, np.array(Image.open(file)))


def test_the_order_of_steps_counts() -> None:
    noise, jpeg = {"noise": {"sigma": [20, 20]}}, {"jpeg": {"quality": [20, 20]}}
    first, second = degraded([noise, jpeg])[0], degraded([jpeg, noise])[0]
    clean = shrink(PHOTO).astype(float)
    # Compression takes noise away; noise that comes after it stays.
    assert np.std(first - clean) < 0.8 * np.std(second - clean)
    assert [list(step) for step in degraded([jpeg, noise, jpeg])[1]] == [["jpeg"], ["noise"], ["jpeg"]]


@pytest.mark.parametrize("change", [{"seed": 1}, {"scale": 2}, {"sha256": "cd" * 32}])
def test_seed_scale_and_image_each_change_the_draw(change: dict[str, Any]) -> None:
    assert degraded(STEPS)[1] == degraded(STEPS)[1]
    assert degraded(STEPS, **change)[1] != degraded(STEPS)[1]


Pack = Callable[..., dict[str, tuple[np.ndarray, str]]]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Pack some of the built-in photographs; return LR and what is recorded, by id."""

    def pack(*photos: str, **options: Any) -> dict[str, tuple[np.ndarray, str]]:
        path = tmp_path / "packed.h5"
        manifest = make_manifest(list_files("builtin", photos=photos))
        pack_images(manifest, path, scale=4, key="test", **options)
        with h5py.File(path) as file:
            recorded = [None] * len(photos)
            if "degradation" in file:
                assert file.attrs["lr_origin"] == "degraded"
                assert json.loads(file.attrs["degradation"]) == options["degradation"]
                assert file.attrs["degradation_seed"] == options.get("seed", 0)
                recorded = list(file["degradation"].asstr()[:])
        images = PackedImages(path)
        return {name: (np.array(images.lr(n)), recorded[n]) for n, name in enumerate(images.ids)}

    return pack


def test_another_photograph_leaves_the_draws_of_the_others(pack: Pack) -> None:
    before = pack("coffee", "rocket", degradation=STEPS, seed=3, threads=2)
    after = pack("astronaut", "coffee", "rocket", degradation=STEPS, seed=3, threads=1)
    for name, (lr, recorded) in before.items():
        assert np.array_equal(after[name][0], lr)
        assert after[name][1] == recorded
    assert len({recorded for _, recorded in after.values()}) == 3
    for step, limits in zip(json.loads(before["rocket"][1]), STEPS, strict=True):
        assert step.keys() == limits.keys()


def test_without_steps_lr_is_bicubic_and_nothing_is_recorded(pack: Pack) -> None:
    (lr, recorded) = pack("coffee")["coffee"]
    assert recorded is None
    assert not np.array_equal(pack("coffee", degradation=STEPS)["coffee"][0], lr)


def test_given_lr_files_are_not_degraded(tmp_path: Path) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "1_HR.png")
    Image.fromarray(shrink(PHOTO)).save(tmp_path / "1_LR.png")
    manifest = make_manifest(list_files("folder", path=tmp_path, hr="*_HR.png", lr="*_LR.png", scales=[4]))
    with pytest.raises(ValueError, match=r"1_HR\.png is given, so it cannot be degraded"):
        pack_images(manifest, tmp_path / "packed.h5", scale=4, degradation=STEPS, key="test")
