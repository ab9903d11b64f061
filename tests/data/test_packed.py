from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bspa.data.inspection import make_manifest
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images
from bspa.data.photos import read_photo
from bspa.data.resize import imresize
from bspa.data.sources import list_files
from tests.support.noise import noise


@pytest.fixture
def manifest(tmp_path: Path) -> pd.DataFrame:
    """Five photographs of different sizes, none a multiple of 4 both ways."""
    (tmp_path / "photos").mkdir()
    for number in range(5):
        Image.fromarray(noise(33 + number, 46 - 3 * number)).save(tmp_path / "photos" / f"{number}.png")
    return make_manifest(list_files("folder", path=tmp_path / "photos"))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("border", ["clamp", "symmetric"])
def test_lr_is_made_by_imresize(manifest: pd.DataFrame, tmp_path: Path, scale: int, border: str) -> None:
    path = tmp_path / "packed.h5"
    pack_images(manifest, path, scale=scale, border=border, threads=3, key="test")
    images = PackedImages(path)
    assert (len(images), images.scale, images.ids) == (5, scale, ["0", "1", "2", "3", "4"])
    with h5py.File(path) as file:
        assert (file.attrs["border"], file.attrs["lr_origin"]) == (border, "imresize")
    for number in range(5):
        photo = read_photo(tmp_path / "photos" / f"{number}.png")
        height, width = photo.shape[0] // scale * scale, photo.shape[1] // scale * scale
        assert np.array_equal(images.hr(number), photo[:height, :width])
        assert np.array_equal(images.lr(number), imresize(photo[:height, :width], 1 / scale, border=border))
        assert images.hr_shapes[number].tolist() == [height, width]
        assert images.lr_shapes[number].tolist() == [height // scale, width // scale]
    assert np.shares_memory(images.hr(2), images.hr(2))
    assert not images.hr(2).flags.writeable


def test_given_lr_files_are_taken(tmp_path: Path) -> None:
    for name in ("1", "2"):
        Image.fromarray(noise(26, 34, int(name))).save(tmp_path / f"{name}_HR.png")
        Image.fromarray(noise(6, 8, int(name))).save(tmp_path / f"{name}_LR.png")
    manifest = make_manifest(list_files("folder", path=tmp_path, hr="*_HR.png", lr="*_LR.png", scales=[4]))
    pack_images(manifest, tmp_path / "packed.h5", scale=4, key="test")
    images = PackedImages(tmp_path / "packed.h5")
    for number in (0, 1):
        assert np.array_equal(images.hr(number), noise(26, 34, number + 1)[:24, :32])
        assert np.array_equal(images.lr(number), noise(6, 8, number + 1))
    with pytest.raises(ValueError, match="no HR/LR pairs for scale 2; it has them for 4"):
        pack_images(manifest, tmp_path / "other.h5", scale=2, key="test")


def test_a_file_that_changed_since_the_manifest(manifest: pd.DataFrame, tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "3.png"
    Image.new("RGB", (40, 40)).save(photo)
    with pytest.raises(ValueError, match=r"3\.png has changed since .*delete the source's manifest\.csv"):
        pack_images(manifest, tmp_path / "packed.h5", scale=2, key="test")
    photo.unlink()
    with pytest.raises(ValueError, match=r"3\.png: is not there"):
        pack_images(manifest, tmp_path / "packed.h5", scale=2, key="test")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_images_smaller_than_the_scale(tmp_path: Path) -> None:
    Image.new("RGB", (9, 2)).save(tmp_path / "flat.png")
    manifest = make_manifest(list_files("folder", path=tmp_path))
    with pytest.raises(ValueError, match=r"no LR pixel is left at scale 3 of .*flat\.png"):
        pack_images(manifest, tmp_path / "packed.h5", scale=3, key="test")
