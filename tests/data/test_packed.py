from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from bspa.data.inspection import make_manifest
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images
from bspa.data.photos import read_photo
from bspa.data.resize import imresize
from bspa.data.sources import list_files


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photographs of different sizes, none a multiple of 4 both ways."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        samples = rng.integers(0, 256, (33 + number, 46 - 3 * number, 3), dtype=np.uint8)
        Image.fromarray(samples).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("border", ["clamp", "symmetric"])
def test_lr_is_made_by_imresize(photos: Path, tmp_path: Path, scale: int, border: str) -> None:
    manifest = make_manifest(list_files("folder", path=photos))
    pack_images(manifest, tmp_path / "packed.h5", scale=scale, border=border, threads=3, key="test")
    images = PackedImages(tmp_path / "packed.h5")
    assert len(images) == 5
    assert (images.scale, images.border, images.lr_origin) == (scale, border, "imresize")
    assert images.ids == ["0", "1", "2", "3", "4"]
    for number in range(5):
        photo = read_photo(photos / f"{number}.png")
        height, width = photo.shape[0] // scale * scale, photo.shape[1] // scale * scale
        assert np.array_equal(images.hr(number), photo[:height, :width])
        assert np.array_equal(images.lr(number), imresize(photo[:height, :width], 1 / scale, border=border))
        assert images.hr_shapes[number].tolist() == [height, width]
        assert images.lr_shapes[number].tolist() == [height // scale, width // scale]


def test_views_are_mapped_and_read_only(photos: Path, tmp_path: Path) -> None:
    pack_images(make_manifest(list_files("folder", path=photos)), tmp_path / "packed.h5", scale=2, key="test")
    images = PackedImages(tmp_path / "packed.h5")
    first, again = images.hr(2), images.hr(2)
    assert np.shares_memory(first, again)
    assert first.flags.c_contiguous
    assert not first.flags.writeable
    base = first
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_given_lr_files_are_taken(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for name in ("1", "2"):
        Image.fromarray(rng.integers(0, 256, (26, 34, 3), dtype=np.uint8)).save(tmp_path / f"{name}_HR.png")
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(tmp_path / f"{name}_LR.png")
    files = list_files("folder", path=tmp_path, hr="*_HR.png", lr="*_LR.png", scales=[4])
    manifest = make_manifest(files)
    pack_images(manifest, tmp_path / "packed.h5", scale=4, key="test")
    images = PackedImages(tmp_path / "packed.h5")
    assert images.lr_origin == "given"
    for number, name in enumerate(["1", "2"]):
        assert np.array_equal(images.hr(number), read_photo(tmp_path / f"{name}_HR.png")[:24, :32])
        assert np.array_equal(images.lr(number), read_photo(tmp_path / f"{name}_LR.png"))
    with pytest.raises(ValueError, match="no HR/LR pairs for scale 2"):
        pack_images(manifest, tmp_path / "other.h5", scale=2, key="test")


def test_threads_change_nothing(photos: Path, tmp_path: Path) -> None:
    manifest = make_manifest(list_files("folder", path=photos))
    for threads in (1, 4):
        pack_images(manifest, tmp_path / f"{threads}.h5", scale=2, threads=threads, key="test")
    one, four = PackedImages(tmp_path / "1.h5"), PackedImages(tmp_path / "4.h5")
    assert all(
        np.array_equal(one.lr(i), four.lr(i)) and np.array_equal(one.hr(i), four.hr(i)) for i in range(5)
    )


def test_a_file_that_changed_since_the_manifest(photos: Path, tmp_path: Path) -> None:
    manifest = make_manifest(list_files("folder", path=photos))
    Image.new("RGB", (40, 40)).save(photos / "3.png")
    with pytest.raises(
        ValueError, match=r"3\.png has changed: its sha256 is .*delete the source's manifest\.csv"
    ):
        pack_images(manifest, tmp_path / "packed.h5", scale=2, key="test")
    (photos / "3.png").unlink()
    with pytest.raises(ValueError, match=r"3\.png: is not there"):
        pack_images(manifest, tmp_path / "packed.h5", scale=2, key="test")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_manifest_that_was_edited(photos: Path, tmp_path: Path) -> None:
    manifest = make_manifest(list_files("folder", path=photos))
    with pytest.raises(ValueError, match=r"0\.png is 46x33 pixels, not 47x33, since the manifest"):
        pack_images(manifest.assign(width=manifest["width"] + 1), tmp_path / "packed.h5", scale=2, key="test")


def test_images_smaller_than_the_scale(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9, 2)).save(tmp_path / "photos" / "flat.png")
    manifest = make_manifest(list_files("folder", path=tmp_path / "photos"))
    with pytest.raises(ValueError, match=r"no LR pixel is left at scale 3 of .*flat\.png"):
        pack_images(manifest, tmp_path / "packed.h5", scale=3, key="test")
    with pytest.raises(ValueError, match="an empty manifest"):
        pack_images(manifest.iloc[:0], tmp_path / "packed.h5", scale=3, key="test")


def test_other_and_damaged_files_are_refused(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "packed.h5"
    pack_images(make_manifest(list_files("folder", path=photos)), path, scale=2, key="test")
    whole = path.read_bytes()
    for attribute, value in (("format", "other"), ("format_version", 7)):
        with h5py.File(path, "r+") as file:
            file.attrs[attribute] = value
        with pytest.raises(ValueError, match=rf"packed\.h5 .*{value}.*pack_images"):
            PackedImages(path)
        path.write_bytes(whole)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"packed\.h5.*pack_images"):
        PackedImages(path)
    path.write_text("not HDF5")
    with pytest.raises(ValueError, match=r"packed\.h5.*pack_images"):
        PackedImages(path)
