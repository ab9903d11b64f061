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
from bspa.difficulty.shard_writing import write_class_shards
from bspa.difficulty.shards import ClassShard, open_shards
from tests.support.coordinates import CoordinateImages, same_place
from tests.support.noise import pack_noise
from tests.support.scores import made_up_scores

SIZE, STEP, SCALE = 12, 6, 3
SHAPES = (60, 48), (12, 12), (36, 99)


def write(
    folder: Path, images: Any, scores: Scores, *, classes: int = 4, samples: Any = "pixels"
) -> NDArray[np.int64]:
    sizes = class_sizes(len(scores), classes, 1.0 if classes > 100 else 5.0)
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
    write(tmp_path / "windows", images, scores, samples="windows")
    classes = assign_classes(scores.mse, sizes)
    names = sorted(path.name for path in (tmp_path / "shards").iterdir())
    assert names == [f"class0{k}.h5" for k in (1, 2, 3, 4)]
    for k, (shard, other) in enumerate(
        zip(*map(open_shards, (tmp_path / "shards", tmp_path / "windows")), strict=True), 1
    ):
        assert (shard.samples, other.samples) == ("pixels", "windows")
        assert shard.k == other.k == k
        assert len(shard) == len(other) == sizes[k - 1]
        for name in ("image", "top", "left"):
            expected = getattr(scores, name)[classes == k]
            assert np.array_equal(getattr(shard, name), expected), name
            assert np.array_equal(getattr(other, name), expected), name
        lr, hr = crop_pairs(images, shard.image, shard.top, shard.left, SIZE)
        assert np.array_equal(shard.lr, lr)
        assert np.array_equal(shard.hr, hr)
        assert same_place(shard.lr, shard.hr, SCALE)


@pytest.mark.parametrize("samples", ["pixels", "windows"])
def test_shards_say_what_they_are(
    tmp_path: Path, images: CoordinateImages, scores: Scores, samples: str
) -> None:
    sizes = write(tmp_path / "shards", images, scores, samples=samples)
    with h5py.File(tmp_path / "shards" / "class02.h5") as file:
        assert sorted(file) == sorted(["image", "left", "mse", "top"] + ["hr", "lr"] * (samples == "pixels"))
        assert np.array_equal(file["mse"][:], scores.mse[assign_classes(scores.mse, sizes) == 2])
        assert all(dataset.chunks is None for dataset in file.values())
        large = [dataset for dataset in file.values() if dataset.nbytes >= 4096]
        assert all(dataset.id.get_offset() % 4096 == 0 for dataset in large)
        assert len(large) == (samples == "pixels")
        assert dict(file.attrs) == {
            "format": "bspa-class-shard", "format_version": 2, "key": "k", "samples": samples, "class": 2,
            "scale": SCALE, "size": SIZE, "reference_sha256": scores.reference_sha256,
            "thresholds": pytest.approx(thresholds(scores.mse, sizes), rel=0),
        }  # fmt: skip


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
        names = ("mse", "image", "top", "left")
        columns: Any = {name: np.tile(getattr(scores, name), times) for name in names}
        tracemalloc.start()
        write(tmp_path / "shards", images, replace(scores, **columns))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > 2 * block  # numpy's arrays are traced
    assert (peaks[1] - peaks[0]) / (9 * len(scores)) < 200, peaks


class Unreadable(CoordinateImages):
    def hr(self, i: int) -> NDArray[np.uint8]:
        if i == 2:
            raise OSError("the disk is gone")
        return super().hr(i)


@pytest.mark.parametrize("broken", ["read", "fsync"])
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
        write(tmp_path / "shards", images, scores, classes=classes, samples=samples)
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
    for source, number, changed, message in (
        (images, 4, limits + 1e-9, "thresholds .* compute_thresholds"),
        (images, 3, limits[:-1], f"do not split {len(scores)} scores"),
        (CoordinateImages((60, 48), scale=SCALE), 4, limits, "crop_sub_images"),
    ):
        options: Any = {"thresholds": changed, "samples": "pixels", "key": ""}
        with pytest.raises(ValueError, match=message):
            write_class_shards(tmp_path / "shards", source, scores, sizes[:number], **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "version", "chunked", "dataset"])
def test_damaged_shards_are_refused(
    tmp_path: Path, images: CoordinateImages, scores: Scores, damage: str
) -> None:
    write(tmp_path / "shards", images, scores)
    path = tmp_path / "shards" / "class01.h5"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        with h5py.File(path, "r+") as file:
            if damage == "version":
                file.attrs["format_version"] = 1
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
    (tmp_path / "shards" / "class03.h5").unlink()
    with pytest.raises(ValueError, match=r"shards .*\[1, 2, 4\].*write_class_shards"):
        open_shards(tmp_path / "shards")
    with pytest.raises(ValueError, match=r"nowhere .*\[\].*write_class_shards"):
        open_shards(tmp_path / "nowhere")
