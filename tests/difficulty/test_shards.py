from __future__ import annotations

import hashlib
import os
import runpy
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import bspa.difficulty.shards
from bspa.data.crops import crop_pairs
from bspa.data.manifest import COLUMNS
from bspa.data.packed import PackedImages, write_packed
from bspa.difficulty.classes import assign_classes, class_sizes, thresholds
from bspa.difficulty.grid import grid, read_windows, write_windows
from bspa.difficulty.scores import Scores
from bspa.difficulty.shards import ClassShard, open_shards, shard_path, write_class_shards
from bspa.models.registry import build
from bspa.models.weights import save_weights
from bspa.sampling.inverse import InverseSampler
from tests.support.coordinates import CoordinateImages, same_place

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"
SIZE, STEP, SCALE = 12, 6, 3


def score(images, *, size=SIZE, step=STEP, distinct=1000):
    """Made-up difficulties of every window; few ``distinct`` values make ties."""
    grids = [grid(h, w, size=size, step=step, threshold=3) for h, w in images.hr_shapes]
    top, left = np.concatenate(grids).T.astype(np.int32)
    mse = np.random.default_rng(0).integers(0, distinct, len(top)) / np.float32(distinct)
    return Scores(
        mse=mse.astype(np.float32),
        image=np.repeat(np.arange(len(grids)), [len(g) for g in grids]).astype(np.int32),
        top=top,
        left=left,
        size=size,
        step=step,
        threshold=3,
        scale=images.scale,
        reference_sha256="0123456789abcdef" * 4,
    )


def write(directory, images, scores, *, classes=4, imbalance=5.0, samples="pixels"):
    sizes = class_sizes(len(scores), classes, imbalance)
    limits = thresholds(scores.mse, sizes)
    write_class_shards(directory, images, scores, sizes, thresholds=limits, samples=samples)
    return sizes


@pytest.fixture(scope="module")
def images():
    return CoordinateImages((60, 48), (12, 12), (36, 99), scale=SCALE)


@pytest.mark.parametrize("distinct", [100_000, 3])
@pytest.mark.parametrize("block", [1, 5, 10_000])
def test_shards_hold_every_sub_image_once_in_its_class(tmp_path, monkeypatch, images, distinct, block):
    monkeypatch.setattr(bspa.difficulty.shards, "BLOCK_BYTES", block * 3 * SIZE**2)
    scores = score(images, distinct=distinct)
    sizes = write(tmp_path / "shards", images, scores)
    classes = assign_classes(scores.mse, sizes)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [
        "class01.h5", "class02.h5", "class03.h5", "class04.h5",
    ]  # fmt: skip
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


@pytest.mark.parametrize("distinct", [100_000, 3])
def test_windows_say_where_the_pixels_of_the_other_kind_lie(tmp_path, images, distinct):
    scores = score(images, distinct=distinct)
    for samples in ("pixels", "windows"):
        write(tmp_path / samples, images, scores, samples=samples)
    for pixels, windows in zip(*map(open_shards, (tmp_path / "pixels", tmp_path / "windows")), strict=True):
        assert (pixels.samples, windows.samples) == ("pixels", "windows")
        assert len(windows) == len(pixels)
        for name in ("mse", "image", "top", "left", "thresholds"):
            assert np.array_equal(getattr(windows, name), getattr(pixels, name)), name
        for name in ("scale", "size", "k", "reference_sha256"):
            assert getattr(windows, name) == getattr(pixels, name), name
        lr, hr = crop_pairs(images, windows.image, windows.top, windows.left, windows.size)
        assert np.array_equal(lr, pixels.lr)
        assert np.array_equal(hr, pixels.hr)


def test_windows_have_no_pixels(tmp_path, images):
    write(tmp_path / "shards", images, score(images), samples="windows")
    path = shard_path(tmp_path / "shards", 1)
    with h5py.File(path) as file:
        assert sorted(file) == ["image", "left", "mse", "top"]
    for name in ("lr", "hr"):
        with pytest.raises(ValueError, match=rf"class01\.h5 has no {name}: it holds windows.*shards: pixels"):
            getattr(ClassShard(path), name)


@pytest.mark.parametrize("samples", ["pixels", "windows"])
def test_shards_say_what_they_are(tmp_path, images, samples):
    scores = score(images)
    sizes = write(tmp_path / "shards", images, scores, samples=samples)
    with h5py.File(shard_path(tmp_path / "shards", 2)) as file:
        assert all(dataset.chunks is None for dataset in file.values())
        assert dict(file.attrs) == {
            "format": "bspa-class-shard",
            "format_version": 2,
            "samples": samples,
            "scale": SCALE,
            "size": SIZE,
            "class": 2,
            "thresholds": pytest.approx(thresholds(scores.mse, sizes), rel=0),
            "reference_sha256": scores.reference_sha256,
        }
    shards = open_shards(tmp_path / "shards")
    assert [shard.k for shard in shards] == [1, 2, 3, 4]
    assert [shard.mse.max() for shard in shards] == shards[0].thresholds.tolist()
    assert {(shard.scale, shard.size, shard.reference_sha256) for shard in shards} == {
        (SCALE, SIZE, scores.reference_sha256)
    }


def test_more_than_a_hundred_classes_stay_in_order(tmp_path, images):
    scores = score(images)
    write(tmp_path / "shards", images, scores, classes=101, imbalance=1.0)
    assert [shard.k for shard in open_shards(tmp_path / "shards")] == list(range(1, 102))


def pages_of(path):
    """How many bytes of a file are in this process's memory."""
    lines, total, counts = Path("/proc/self/smaps").read_text().splitlines(), 0, False
    for line in lines:
        if "-" in line.split(" ")[0]:
            counts = line.endswith(str(path))
        elif counts and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells")
def test_images_that_are_cut_do_not_stay_in_memory(tmp_path):
    images = pack(tmp_path, tmp_path / "x4.h5")
    pixels = images.hr(0).sum(), images.lr(0).sum()
    assert pages_of(tmp_path / "x4.h5") > 0
    write(tmp_path / "shards", images, score(images, size=64, step=32))
    assert pages_of(tmp_path / "x4.h5") == 0
    assert (images.hr(0).sum(), images.lr(0).sum()) == pixels


def test_memory_for_pixels_does_not_grow_with_their_number(tmp_path, monkeypatch):
    images = CoordinateImages((120, 120), scale=SCALE)
    block, peaks = 4 * 3 * 60**2, []
    monkeypatch.setattr(bspa.difficulty.shards, "BLOCK_BYTES", block)
    scores = score(images, size=60, step=6)
    for times in (1, 10):
        columns = {name: np.tile(getattr(scores, name), times) for name in ("mse", "image", "top", "left")}
        tracemalloc.start()
        write(tmp_path / "shards", images, replace(scores, **columns))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > 2 * block  # numpy's arrays are traced
    more = 9 * len(scores)
    assert (peaks[1] - peaks[0]) / more < 200, (
        f"{peaks} bytes for {len(scores)} sub-images and ten times that"
    )


def test_pixels_lie_on_whole_pages(tmp_path, images):
    write(tmp_path / "shards", images, score(images), classes=1)
    with h5py.File(shard_path(tmp_path / "shards", 1)) as file:
        assert [file[name].id.get_offset() % 4096 for name in ("lr", "hr")] == [0, 0]


def test_interrupted_writes_go_on(tmp_path, images, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: real(file, data[:1000], offset))
    write(tmp_path / "shards", images, score(images))
    for shard in open_shards(tmp_path / "shards"):
        lr, hr = crop_pairs(images, shard.image, shard.top, shard.left, SIZE)
        assert np.array_equal(shard.lr, lr)
        assert np.array_equal(shard.hr, hr)


@pytest.mark.parametrize("samples", ["pixels", "windows"])
def test_shards_feed_the_inverse_sampler(tmp_path, images, samples):
    write(tmp_path / "shards", images, score(images), samples=samples)
    whole = images if samples == "windows" else None
    lr, hr = InverseSampler(open_shards(tmp_path / "shards"), images=whole, batch=32, seed=0).batch(0)
    assert same_place(lr, hr, SCALE)
    assert len(np.unique(hr.reshape(32, -1), axis=0)) > 16


def test_both_kinds_feed_the_same_samples(tmp_path):
    images = pack(tmp_path, tmp_path / "x4.h5")
    samplers = []
    for samples, whole in (("pixels", None), ("windows", images)):
        write(tmp_path / samples, images, score(images, size=64, step=32), samples=samples)
        samplers.append(InverseSampler(open_shards(tmp_path / samples), images=whole, batch=16, seed=0))
    for iteration in range(20):
        for pixels, windows in zip(*(sampler.batch(iteration) for sampler in samplers), strict=True):
            assert np.array_equal(pixels, windows)


def test_windows_without_their_images_are_refused(tmp_path, images):
    write(tmp_path / "shards", images, score(images), samples="windows")
    with pytest.raises(ValueError, match="holds windows, to be cut from the packed images"):
        InverseSampler(open_shards(tmp_path / "shards"), batch=1, seed=0)


def pack(folder, path):
    """Pack two photographs at scale 4."""
    rng = np.random.default_rng(0)
    rows = []
    for name, (height, width) in {"a": (130, 97), "b": (64, 200)}.items():
        photo = folder / f"{name}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(photo)
        digest = hashlib.sha256(photo.read_bytes()).hexdigest()
        rows.append([name, str(photo), width, height, digest, pd.NA, "", ""])
    write_packed(pd.DataFrame(rows, columns=list(COLUMNS)), path, scale=4, threads=1)
    return PackedImages(path)


def test_shards_are_cut_from_packed_photographs(tmp_path):
    images = pack(tmp_path, tmp_path / "x4.h5")
    scores = score(images, size=64, step=32)
    write(tmp_path / "shards", images, scores)
    for shard in open_shards(tmp_path / "shards"):
        for n in range(len(shard)):
            i, top, left = int(shard.image[n]), int(shard.top[n]), int(shard.left[n])
            assert np.array_equal(shard.hr[n], images.hr(i)[top : top + 64, left : left + 64])
            y, x = top // 4, left // 4
            assert np.array_equal(shard.lr[n], images.lr(i)[y : y + 16, x : x + 16])


class Unreadable(CoordinateImages):
    def hr(self, i):
        if i == 2:
            raise OSError("the disk is gone")
        return super().hr(i)


def test_a_failed_step_leaves_nothing(tmp_path, images, monkeypatch):
    monkeypatch.setattr(bspa.difficulty.shards, "BLOCK_BYTES", 1)
    broken = Unreadable((60, 48), (12, 12), (36, 99), scale=SCALE)
    with pytest.raises(OSError, match="the disk is gone"):
        write(tmp_path / "deep" / "shards", broken, score(images))
    assert list((tmp_path / "deep").iterdir()) == []


def test_earlier_shards_are_replaced_and_kept_when_the_new_ones_fail(tmp_path, images):
    directory = tmp_path / "shards"
    write(directory, images, score(images), classes=6)
    with pytest.raises(OSError, match="the disk is gone"):
        write(directory, Unreadable((60, 48), (12, 12), (36, 99), scale=SCALE), score(images))
    assert len(open_shards(directory)) == 6
    write(directory, images, score(images))
    assert len(open_shards(directory)) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


@pytest.mark.parametrize("broken", ["pwrite", "fsync"])
def test_a_disk_that_fails_leaves_the_earlier_shards(tmp_path, images, monkeypatch, broken):
    directory = tmp_path / "shards"
    write(directory, images, score(images), classes=6)

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(bspa.difficulty.shards, "BLOCK_BYTES", 1)
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="no space left"):
        write(directory, images, score(images))
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]
    assert len(open_shards(directory)) == 6


def test_the_other_kind_replaces_the_earlier(tmp_path, images):
    for samples in ("pixels", "windows", "pixels"):
        write(tmp_path / "shards", images, score(images), samples=samples)
        assert {shard.samples for shard in open_shards(tmp_path / "shards")} == {samples}


def test_the_directory_is_as_open_as_any_other(tmp_path, images):
    (tmp_path / "other").mkdir()
    write(tmp_path / "shards", images, score(images))
    assert (tmp_path / "shards").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_files_that_do_not_belong_together_are_refused(tmp_path, images):
    scores = score(images)
    sizes = class_sizes(len(scores), 4, 5.0)
    limits = thresholds(scores.mse, sizes)
    with pytest.raises(ValueError, match="thresholds do not come from these scores"):
        write_class_shards(tmp_path / "shards", images, scores, sizes, thresholds=limits + 1e-9)
    with pytest.raises(ValueError, match="do not split"):
        write_class_shards(tmp_path / "shards", images, scores, sizes[:-1], thresholds=limits[:-1])
    with pytest.raises(ValueError, match="scores are for scale 3, the images for scale 2"):
        write_class_shards(
            tmp_path / "shards", CoordinateImages((60, 48), scale=2), scores, sizes, thresholds=limits
        )
    with pytest.raises(ValueError, match="belong to another source"):
        write_class_shards(
            tmp_path / "shards", CoordinateImages((60, 48), scale=3), scores, sizes, thresholds=limits
        )
    with pytest.raises(ValueError, match="samples is 'patches'; it must be one of pixels, windows"):
        write(tmp_path / "shards", images, scores, samples="patches")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "text", "version", "chunked", "dataset", "samples"])
def test_damaged_shards_are_refused(tmp_path, images, damage):
    write(tmp_path / "shards", images, score(images))
    path = shard_path(tmp_path / "shards", 1)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "text":
        path.write_text("nothing of the kind")
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
    with pytest.raises(
        ValueError, match=r"cannot use .*class01\.h5 \(.*let write_class_shards make it again"
    ):
        ClassShard(path)


def test_an_incomplete_set_of_shards_is_refused(tmp_path, images):
    write(tmp_path / "shards", images, score(images))
    shard_path(tmp_path / "shards", 3).unlink()
    with pytest.raises(ValueError, match=r"classes \[1, 2, 4\], not every class"):
        open_shards(tmp_path / "shards")
    with pytest.raises(ValueError, match=r"classes \[\], not every class"):
        open_shards(tmp_path / "nowhere")


def run_script(name, *, output, config=None, **values):
    job = SimpleNamespace(threads=1, config=config, output=output, **values)
    runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"](job)


def test_the_scripts_go_from_packed_photographs_to_shards_and_figure_1(tmp_path):
    packed, windows = str(tmp_path / "x4.h5"), str(tmp_path / "windows.h5")
    images = pack(tmp_path, packed)
    write_windows(windows, images.hr_shapes, size=32, step=16, threshold=8, scale=4)
    reference = tmp_path / "reference.safetensors"
    torch.manual_seed(0)
    network = build("msrresnet", 4, blocks=1, channels=8)
    save_weights(reference, network.state_dict(), {"scale": "4"})
    scores, limits = str(tmp_path / "scores.h5"), str(tmp_path / "thresholds.csv")

    run_script(
        "score_difficulty",
        input=SimpleNamespace(packed=packed, windows=windows, reference=str(reference)),
        params=SimpleNamespace(
            settings={
                "model": {"arch": "msrresnet", "options": {"blocks": 1, "channels": 8}},
                "scale": 4,
                "batch": 5,
                "precision": "float32",
                "sees": "sub_images",
            }
        ),
        config={"compute": {"device": "cpu"}},
        output=[scores],
    )
    run_script(
        "compute_thresholds",
        input=SimpleNamespace(scores=scores),
        params=SimpleNamespace(settings={"classes": 3, "imbalance": 4}),
        output=[limits],
    )
    run_script(
        "write_class_shards",
        input=SimpleNamespace(packed=packed, scores=scores, thresholds=limits),
        params=SimpleNamespace(settings={"samples": "pixels"}),
        output=[str(tmp_path / "shards")],
    )
    run_script(
        "figure_1",
        input=SimpleNamespace(scores=scores, thresholds=limits),
        params=SimpleNamespace(settings={"source": "photos", "scale": 4, "split": "k3_u4"}),
        output=SimpleNamespace(pdf=str(tmp_path / "figure1.pdf"), png=str(tmp_path / "figure1.png")),
    )

    shards = open_shards(tmp_path / "shards")
    count = len(read_windows(windows))
    assert [len(shard) for shard in shards] == class_sizes(count, 3, 4).tolist()
    assert {shard.reference_sha256 for shard in shards} == {
        hashlib.sha256(reference.read_bytes()).hexdigest()
    }
    for shard in shards:
        lr = torch.from_numpy(shard.lr.copy()).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            sr = network.eval()(lr).clip(0, 1).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(shard.mse, ((sr - shard.hr / 255) ** 2).mean(axis=(1, 2, 3)), rtol=1e-5)
    assert (tmp_path / "figure1.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "figure1.png").read_bytes().startswith(b"\x89PNG")
