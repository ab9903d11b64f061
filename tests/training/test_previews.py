"""Pictures of a network in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bspa.data.packed import PackedImages
from bspa.data.resize import imresize
from bspa.models.inference import super_resolve
from bspa.training.previews import Previews, worst_region
from bspa.training.validation import Validation
from tests.support.noise import pack_noise
from tests.support.training import assert_same, make_stage, make_task, train, without_times


@pytest.fixture
def images(tmp_path: Path) -> PackedImages:
    return pack_noise(tmp_path, (40, 36), (160, 260), scale=4)


def previews_of(images: PackedImages, folder: Path, count: int = 2) -> Previews:
    validation = Validation(images=images)
    return Previews(validate=validation, images=images, count=count, folder=folder)


def test_they_change_nothing_and_have_the_steps_of_the_run_in_their_names(
    tmp_path: Path, images: PackedImages
) -> None:
    stage = make_stage("uncertainty", epochs=5, validate_every=2, ema=0.9)
    plain = train(tmp_path / "plain", stage, validation=Validation(images=images))
    seen = train(tmp_path / "seen", stage, validation=previews_of(images, tmp_path / "previews"))
    assert_same(plain.snapshot, seen.snapshot)
    assert without_times(plain.rows) == without_times(seen.rows)
    names = [f"crop{n}_step{step:08}.png" for n in (1, 2) for step in (8, 16, 20)]
    assert sorted(file.name for file in (tmp_path / "previews").iterdir()) == names
    first = {file.name: file.read_bytes() for file in (tmp_path / "previews").iterdir()}
    train(tmp_path / "again", stage, validation=previews_of(images, tmp_path / "more"))
    assert {file.name: file.read_bytes() for file in (tmp_path / "more").iterdir()} == first


def test_a_picture_is_lr_by_interpolation_and_sr_and_hr(tmp_path: Path, images: PackedImages) -> None:
    """A small photograph is shown whole."""
    model = make_task(make_stage()).model
    previews_of(images, tmp_path / "previews", 1)(model, {}, 7, None)
    assert model.training
    shown = np.asarray(Image.open(tmp_path / "previews" / "crop1_step00000007.png"))
    lr, hr = np.asarray(images.lr(0)), np.asarray(images.hr(0))
    assert shown.shape == (40, 3 * 36 + 2 * 4, 3)
    np.testing.assert_array_equal(shown[:, :36], imresize(lr, 4))
    np.testing.assert_array_equal(shown[:, 40:76], super_resolve(model, lr))
    np.testing.assert_array_equal(shown[:, 80:], hr)


def test_the_region_of_a_large_photograph_is_as_in_the_whole(tmp_path: Path, images: PackedImages) -> None:
    model = make_task(make_stage()).model
    shown = previews_of(images, tmp_path).picture(model, 1)
    lr, hr = np.asarray(images.lr(1)), np.asarray(images.hr(1))
    errors = np.abs(imresize(lr, 4).astype(np.float32) - hr).mean(2)
    rows, columns = worst_region(errors, 4)
    np.testing.assert_array_equal(shown[:, 132:260], super_resolve(model, lr)[rows, columns])
    np.testing.assert_array_equal(shown[:, 264:], hr[rows, columns])


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_worst_region_is_found(scale: int) -> None:
    errors = np.zeros((300, 400), np.float32)
    errors[130:190, 250:310] = 1
    rows, columns = worst_region(errors, scale)
    assert errors[rows, columns].sum() == errors.sum()
    assert {part.start % scale for part in (rows, columns)} == {0}
    assert {part.stop - part.start for part in (rows, columns)} == {128 // scale * scale}


def test_pictures_of_later_steps_are_those_of_another_run(tmp_path: Path, images: PackedImages) -> None:
    previews = previews_of(images, tmp_path / "previews", 1)
    model = make_task(make_stage()).model
    for step in (4, 8, 12, 4):
        previews(model, {}, step, None)
    assert [file.name for file in (tmp_path / "previews").iterdir()] == ["crop1_step00000004.png"]
