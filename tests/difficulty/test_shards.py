from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from bspa.data.crops import crop_pairs
from bspa.difficulty import shard_writing
from bspa.difficulty.classes import assign_classes, class_sizes, thresholds
from bspa.difficulty.scores import Scores
from bspa.difficulty.shard_writing import shard_path, write_class_shards
from bspa.difficulty.shards import ClassShard, open_shards
from tests.support.coordinates import CoordinateImages, same_place
from tests.support.noise import pack_noise
from tests.support.scores import made_up_scores

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"
SIZE, STEP, SCALE = 12, 6, 3
SHAPES = (60, 48), (12, 12), (36, 99)


def write(
    folder: Path,
    images: Any,
    scores: Scores,
    *,
    classes: int = 4,
    imbalance: float = 5.0,
    samples: Any = "pixels",
) -> NDArray[np.int64]:
    sizes = class_sizes(len(scores), classes, imbalance)
    limits = thresholds(scores.mse, sizes)
    write_class_shards(folder, images, scores, sizes, thresholds=limits, samples=samples, key="k")
    return sizes


@pytest.fixture(scope="module")
def images() -> CoordinateImages:
    return CoordinateImages(*SHAPES, scale=SCALE)


@pytest.fixture(scope="module")
def scores(images: CoordinateImages) -> Scores:
    return made_up_scores(images, size=SIZE, step=STEP)


@pytest.mark.parametrize("distinct", [100_000, 3])
@pytest.mark.parametrize("block", [1, 5, 10_000])
def test_shards_hold_every_sub_image_once_in_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: CoordinateImages, distinct: int, block: int
) -> None:
    monkeypatch.setattr(shard_writing, "BLOCK_BYTES", block * 3 * SIZE**2)
    scores = made_up_scores(images, size=SIZE, step=STEP, distinct=distinct)
    sizes = write(tmp_path / "shards", images, scores)
    classes = assign_classes(scores.mse, sizes)
    names = sorted(path.name for path in (tmp_path / "shards").iterdir())
    assert names == [f"class0{k}.h5" for k in (1, 2, 3, 4)]
    for k, size in enumerate(sizes, 1):
        shard = ClassShard(shard_path(tmp_path / "shards", k))
        members = np.flatnonzero(classes == k)
        assert len(shard) == size == len(members)
        for name in ("mse", "image", "top", "left"):
            assert np.array_equal(getattr(shard, name), getattr(scores, name)[members]), name
        assert shard.lr.shape == (size, SIZE // SCALE, SIZE // SCALE, 3)
        for pixels, image, top, left in zip(shard.hr, shard.image, shard.top, shard.left, strict=True):
            assert np.array_equal(pixels, images.hr(image)[top : top + SIZE, left : left + SIZE])
        assert same_place(shard.lr, shard.hr, SCALE)


def test_windows_say_where_the_pixels_of_the_other_kind_lie(
    tmp_path: Path, images: CoordinateImages, scores: Scores
) -> None:
    for samples in ("pixels", "windows"):
        write(tmp_path / samples, images, scores, samples=samples)
    for pixels, windows in zip(*map(open_shards, (tmp_path / "pixels", tmp_path / "windows")), strict=True):
        assert (pixels.samples, windows.samples) == ("pixels", "windows")
        assert len(windows) == len(pixels)
        for name in ("mse", "image", "top", "left", "thresholds", "scale", "size", "k", "reference_sha256"):
            assert np.array_equal(getattr(windows, name), getattr(pixels, name)), name
        lr, hr = crop_pairs(images, windows.image, windows.top, windows.left, windows.size)
        assert np.array_equal(lr, pixels.lr)
        assert np.array_equal(hr, pixels.hr)
        for name in ("lr", "hr"):
            with pytest.raises(ValueError, match=rf"{name}: it holds windows.*shards: pixels"):
                getattr(windows, name)


@pytest.mark.parametrize("samples", ["pixels", "windows"])
def test_shards_say_what_they_are(
    tmp_path: Path, images: CoordinateImages, scores: Scores, samples: str
) -> None:
    sizes = write(tmp_path / "shards", images, scores, samples=samples)
    with h5py.File(shard_path(tmp_path / "shards", 2)) as file:
        assert sorted(file) == sorted(["image", "left", "mse", "top"] + ["hr", "lr"] * (samples == "pixels"))
        assert all(dataset.chunks is None for dataset in file.values())
        large = [dataset for dataset in file.values() if dataset.nbytes >= 4096]
        assert all(dataset.id.get_offset() % 4096 == 0 for dataset in large)
        assert len(large) == (samples == "pixels")
        assert dict(file.attrs) == {
            "format": "bspa-class-shard",
            "format_version": 2,
            "key": "k",
            "samples": samples,
            "scale": SCALE,
            "size": SIZE,
            "class": 2,
            "thresholds": pytest.approx(thresholds(scores.mse, sizes), rel=0),
            "reference_sha256": scores.reference_sha256,
        }
    shards = open_shards(tmp_path / "shards")
    assert [shard.mse.max() for shard in shards] == shards[0].thresholds.tolist()
    assert {(shard.scale, shard.size, shard.reference_sha256) for shard in shards} == {
        (SCALE, SIZE, scores.reference_sha256)
    }


def pages_of(path: Path) -> int:
    """How many bytes of a file are in this process's memory."""
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            counts = line.endswith(str(path))
        elif counts and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells")
def test_images_that_are_cut_do_not_stay_in_memory(tmp_path: Path) -> None:
    images = pack_noise(tmp_path, (130, 97), (64, 200), scale=4)
    pixels = images.hr(0).sum(), images.lr(0).sum()
    assert pages_of(tmp_path / "x4.h5") > 0
    write(tmp_path / "shards", images, made_up_scores(images, size=64, step=32))
    assert pages_of(tmp_path / "x4.h5") == 0
    assert (images.hr(0).sum(), images.lr(0).sum()) == pixels


def test_memory_for_pixels_does_not_grow_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = CoordinateImages((120, 120), scale=SCALE)
    block, peaks = 4 * 3 * 60**2, []
    monkeypatch.setattr(shard_writing, "BLOCK_BYTES", block)
    scores = made_up_scores(images, size=60, step=6)
    for times in (1, 10):
        columns: Any = {
            name: np.tile(getattr(scores, name), times) for name in ("mse", "image", "top", "left")
        }
        tracemalloc.start()
        write(tmp_path / "shards", images, replace(scores, **columns))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > 2 * block  # numpy's arrays are traced
    more = 9 * len(scores)
    assert (peaks[1] - peaks[0]) / more < 200, (
        f"{peaks} bytes for {len(scores)} sub-images and ten times that"
    )


def test_interrupted_writes_go_on(
    tmp_path: Path, images: CoordinateImages, scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: real(file, data[:1000], offset))
    write(tmp_path / "shards", images, scores)
    for shard in open_shards(tmp_path / "shards"):
        lr, hr = crop_pairs(images, shard.image, shard.top, shard.left, SIZE)
        assert np.array_equal(shard.lr, lr)
        assert np.array_equal(shard.hr, hr)


class Unreadable(CoordinateImages):
    def hr(self, i: int) -> NDArray[np.uint8]:
        if i == 2:
            raise OSError("the disk is gone")
        return super().hr(i)


@pytest.mark.parametrize("broken", ["read", "pwrite", "fsync"])
def test_a_failed_run_leaves_the_earlier_shards_or_nothing(
    tmp_path: Path, images: CoordinateImages, scores: Scores, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    folder = tmp_path / "shards"
    write(folder, images, scores, classes=6)

    def fail(*_: object) -> None:
        raise OSError("the disk is gone")

    source = Unreadable(*SHAPES, scale=SCALE) if broken == "read" else images
    with monkeypatch.context() as patch:
        patch.setattr(shard_writing, "BLOCK_BYTES", 1)
        if broken != "read":
            patch.setattr(os, broken, fail)
        for target in (folder, tmp_path / "new"):
            with pytest.raises(OSError, match="the disk is gone"):
                write(target, source, scores)
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]
    assert len(open_shards(folder)) == 6


def test_shards_of_the_other_kind_replace_the_earlier(
    tmp_path: Path, images: CoordinateImages, scores: Scores
) -> None:
    for classes, samples in ((101, "pixels"), (4, "windows"), (5, "pixels")):  # more than two digits
        write(tmp_path / "shards", images, scores, classes=classes, imbalance=1.0, samples=samples)
        shards = open_shards(tmp_path / "shards")
        assert [shard.k for shard in shards] == list(range(1, classes + 1))
        assert {shard.samples for shard in shards} == {samples}
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]
    (tmp_path / "other").mkdir()
    assert (tmp_path / "shards").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, images: CoordinateImages, scores: Scores
) -> None:
    sizes = class_sizes(len(scores), 4, 5.0)
    limits = thresholds(scores.mse, sizes)
    other_scale, other = (CoordinateImages((60, 48), scale=scale) for scale in (2, 3))
    for source, changes, message in (
        (images, {"thresholds": limits + 1e-9}, "thresholds .* compute_thresholds"),
        (images, {"sizes": sizes[:-1], "thresholds": limits[:-1]}, f"do not split {len(scores)} scores"),
        (other_scale, {}, "scale 3, .* scale 2"),
        (other, {}, "crop_sub_images"),
        (images, {"samples": "patches"}, "samples is 'patches'; .* pixels, windows"),
    ):
        arguments: Any = {"sizes": sizes, "thresholds": limits, "samples": "pixels", "key": "", **changes}
        with pytest.raises(ValueError, match=message):
            write_class_shards(tmp_path / "shards", source, scores, **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "text", "version", "chunked", "dataset", "samples"])
def test_damaged_shards_are_refused(
    tmp_path: Path, images: CoordinateImages, scores: Scores, damage: str
) -> None:
    write(tmp_path / "shards", images, scores)
    path = shard_path(tmp_path / "shards", 1)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "text":
        path.write_text("something else")
    else:
        with h5py.File(path, "r+") as file:
            if damage == "version":
                file.attrs["format_version"] = 1
            elif damage == "samples":
                file.attrs["samples"] = "patches"
            else:
                pixels = file["hr"][:]
                del file["hr"]
                if damage == "chunked":
                    file.create_dataset("hr", data=pixels, chunks=True)
    with pytest.raises(ValueError, match=r"class01\.h5.*write_class_shards"):
        ClassShard(path)


def test_an_incomplete_set_of_shards_is_refused(
    tmp_path: Path, images: CoordinateImages, scores: Scores
) -> None:
    write(tmp_path / "shards", images, scores)
    shard_path(tmp_path / "shards", 3).unlink()
    with pytest.raises(ValueError, match=r"shards .*\[1, 2, 4\].*write_class_shards"):
        open_shards(tmp_path / "shards")
    with pytest.raises(ValueError, match=r"nowhere .*\[\].*write_class_shards"):
        open_shards(tmp_path / "nowhere")
