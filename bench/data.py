"""Data: LR images; class shards, written in one pass and read at random."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
from measuring import Contestant, Item, Measured, measure_once, repeated
from PIL import Image
from setting import SCALE, Bench, make_photograph, sub_images, training_files

from bspa.data.inspection import make_manifest
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images
from bspa.data.photos import read_photo
from bspa.data.resize import imresize
from bspa.difficulty.classes import class_sizes, thresholds
from bspa.difficulty.scores import Scores
from bspa.difficulty.shard_writing import Samples, write_class_shards
from bspa.difficulty.windows import Windows
from bspa.sampling.inverse import open_sampler
from bspa.system.digests import check_digests, write_digests

BLOCK = 32 << 20


def measure_imresize(bench: Bench) -> Item:
    """Make an LR image of 2040x1404 RGB pixels at x4, against Pillow, whose bicubic is not MATLAB's."""
    photo = make_photograph(read_photo(training_files()[0].path), bench.photo, seed=0)
    height, width = (side // SCALE for side in bench.photo)
    picture, bicubic = Image.fromarray(photo), Image.Resampling.BICUBIC
    limit = repeated(lambda: picture.resize((width, height), bicubic))
    ours = repeated(lambda: imresize(photo, 1 / SCALE))
    return Item(unit="image", limits={"Pillow's bicubic": limit}, ours=ours)


def measure_digests(bench: Bench) -> Item:
    """Pack photographs, against the digest of what was packed, which is to be a small share of it."""
    manifest, target = make_manifest(training_files(tiny=bench.tiny)), bench.folder / "digested.h5"
    work = functools.partial(pack_images, manifest, target, scale=SCALE, threads=bench.threads, key="")
    work()

    def digest() -> None:
        write_digests([str(target)])
        check_digests([str(target)])

    return Item(unit="source", limits={"digest written and checked": repeated(digest)}, ours=repeated(work))


def write_shards(folder: Path, images: PackedImages, windows: Windows, samples: Samples) -> None:
    """Write the shards of 10 classes as the rule does, with random scores."""
    mse = np.random.default_rng(0).random(len(windows), np.float32)
    scores = Scores(
        mse=mse, mse_y=mse, image=windows.image, top=windows.top, left=windows.left,
        size=windows.size, step=windows.step, threshold=windows.threshold, scale=SCALE, reference_sha256="",
    )  # fmt: skip
    sizes = class_sizes(len(windows), 10, 10)
    limits = thresholds(mse, sizes)
    write_class_shards(folder, images, scores, sizes, thresholds=limits, samples=samples, key="")


def measure_crop_and_shards_write(bench: Bench) -> Item:
    """Write shards of pixels, against as many bytes in sequence."""
    images, windows = sub_images(bench, bench.sub_images)
    total = 3 * (bench.patch**2 + (bench.patch // SCALE) ** 2) * len(windows)
    block = np.random.default_rng(0).bytes(min(BLOCK, total))
    target = bench.folder / "written"

    def sequential() -> None:
        with target.open("wb", buffering=0) as file:
            left = total
            while left:
                left -= file.write(block[:left])
            os.fsync(file.fileno())

    def written(work: Callable[[], None]) -> Contestant:
        """Remove what the last turn wrote, which does not count, and write it again."""

        def contestant(number: int) -> Measured:
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            return measure_once(work, units=len(windows))

        return contestant

    return Item(
        unit="sub-image",
        limits={"sequential write": written(sequential)},
        ours=written(lambda: write_shards(target, images, windows, "pixels")),
        facts=lambda result: {"sub_images": len(windows), "bytes": total},
    )


def measure_shard_read(bench: Bench) -> Item:
    """A batch by inverse sampling, from shards of pixels and of windows, against a copy of as many bytes."""
    images, windows = sub_images(bench, bench.sub_images)

    def read(samples: Samples) -> Contestant:
        shards = bench.folder / samples
        write_shards(shards, images, windows, samples)
        options = {"patch": bench.patch, "batch": bench.batch, "seed": 0, "shuffle_from": None}
        sampler = open_sampler(images, str(shards), **options)
        numbers = itertools.count()
        return repeated(lambda: sampler.batch(next(numbers)))

    pixels = [np.ones((bench.batch, side, side, 3), np.uint8) for side in (bench.patch, bench.patch // SCALE)]
    copies = [np.empty_like(of_one) for of_one in pixels]

    def copy() -> None:
        for source, target in zip(pixels, copies, strict=True):
            np.copyto(target, source)

    ours, other = map(read, get_args(Samples))
    return Item(
        unit="batch", limits={"memory copy": repeated(copy)}, ours=ours, also={"windows": other},
        facts=lambda result: {"sub_images": len(windows)},
    )  # fmt: skip
