"""Class shards: written in one pass, and read at random."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import toolbox
from measuring import Contestant, Item, Measured, Meter, repeated
from photographs import first, sub_images, write_sub_image_pngs
from sizes import SCALE, Bench

from bspa.data.packed import PackedImages
from bspa.difficulty.classes import class_sizes, thresholds
from bspa.difficulty.scores import Scores
from bspa.difficulty.shard_writing import Samples, write_class_shards
from bspa.difficulty.shards import open_shards
from bspa.difficulty.windows import Windows
from bspa.sampling.inverse import InverseSampler
from bspa.system.hdf5 import let_go

CLASSES, IMBALANCE = 10, 10
MOST_PNGS = 500
BLOCK = 32 << 20
KINDS: tuple[Samples, ...] = get_args(Samples)


def write(folder: Path, images: PackedImages, windows: Windows, samples: Samples = "pixels") -> None:
    """Write class shards as the rule does, by difficulties made up."""
    scores = Scores(
        mse=np.random.default_rng(0).random(len(windows), np.float32),
        image=windows.image, top=windows.top, left=windows.left,
        size=windows.size, step=windows.step, threshold=windows.threshold,
        scale=SCALE, reference_sha256="",
    )  # fmt: skip
    sizes = class_sizes(len(windows), CLASSES, IMBALANCE)
    limits = thresholds(scores.mse, sizes)
    write_class_shards(folder, images, scores, sizes, thresholds=limits, samples=samples, key="")


def measure_crop_and_shards_write(bench: Bench) -> Item:
    """Against the same bytes written one after the other, and a PNG for each sub-image."""
    images, windows = sub_images(bench, bench.sub_images)
    some = first(windows, MOST_PNGS)
    bytes_each = 3 * (bench.patch**2 + (bench.patch // SCALE) ** 2)
    total = bytes_each * len(windows)
    block = np.random.default_rng(0).bytes(min(BLOCK, total))

    def sequential(path: Path) -> None:
        with path.open("wb", buffering=0) as file:
            left = total
            while left:
                left -= file.write(block[:left])
            os.fsync(file.fileno())

    def written(work: Callable[[Path], None], name: str, units: int) -> Contestant:
        """Do ``work`` on a path where nothing is; removing what is there is no part of it."""
        target = bench.folder / name
        once = repeated(lambda: work(target), units=units)

        def contestant(number: int) -> Measured:
            turns = []
            for _ in range(-(-number // units)):
                if target.is_dir():
                    shutil.rmtree(target)
                target.unlink(missing_ok=True)
                turns.append(once(1))
            return Measured(
                sum(turn.seconds for turn in turns), units * len(turns), max(turn.peak_mib for turn in turns)
            )

        return contestant

    def rates(result: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "sub_images": len(windows),
            "bytes": total,
            "mb_per_s": {way: bytes_each / ms / 1e3 for way, ms in result["medians"].items()},
        }

    return Item(
        unit="sub-image",
        limits={"sequential write": written(sequential, "plain.bin", len(windows))},
        ours=written(lambda folder: write(folder, images, windows), "shards", len(windows)),
        plain=written(lambda folder: write_sub_image_pngs(folder, images, some), "pngs", len(some)),
        facts=rates,
    )


def measure_shard_read(bench: Bench) -> Item:
    """A batch by inverse sampling, against a copy of as many bytes, and PNGs decoded, cropped and turned.

    Beside it the reading alone, without what turns the patches and, of PNGs, makes float32 of them; shards of
    windows; and either kind with nothing of its file in memory.
    """
    images, windows = sub_images(bench, bench.sub_images)
    readers = {kind: Reader(bench, kind, images, windows) for kind in KINDS}
    pngs = bench.folder / "pngs"
    number_of_pngs = min(len(windows), MOST_PNGS)
    write_sub_image_pngs(pngs, images, first(windows, number_of_pngs))
    data = toolbox.PngPairs(pngs, bench.patch, SCALE)
    batch = readers["pixels"].sampler.batch(0)
    copies = [np.empty_like(pixels) for pixels in batch]

    def copy() -> None:
        for pixels, target in zip(batch, copies, strict=True):
            np.copyto(target, pixels)

    def decode() -> None:
        for _ in range(bench.batch):
            data[random.randrange(number_of_pngs)]

    def decode_alone() -> None:
        for _ in range(bench.batch):
            data.read(random.randrange(number_of_pngs))

    return Item(
        unit="batch",
        samples=bench.batch,
        limits={"memory copy": repeated(copy)},
        ours=readers["pixels"].read,
        plain=repeated(decode),
        also={
            "windows": readers["windows"].read,
            **{f"{kind}, not turned": reader.read_unturned for kind, reader in readers.items()},
            "PNGs decoded alone": repeated(decode_alone),
            **{f"{kind}, cold": reader.read_cold for kind, reader in readers.items()},
        },
        facts=lambda result: {
            "sub_images": len(windows),
            "shard_bytes": {kind: reader.shard_bytes for kind, reader in readers.items()},
            "times_plain": {kind: result["plain"] / result["medians"][kind] for kind in ("ours", "windows")},
            "times_decoding": {
                kind: result["medians"]["PNGs decoded alone"] / result["medians"][f"{kind}, not turned"]
                for kind in KINDS
            },
        },
    )


class Reader:
    """Shards of one kind, and a sampler of them."""

    def __init__(self, bench: Bench, kind: Samples, images: PackedImages, windows: Windows):
        folder = bench.folder / kind
        write(folder, images, windows, kind)
        files = sorted(folder.iterdir())
        self._batch = bench.batch
        self.shard_bytes = sum(file.stat().st_size for file in files)
        self.sampler = InverseSampler(
            open_shards(folder), images=images if kind == "windows" else None, batch=bench.batch, seed=0
        )
        # The packed file is what `sub_images` made.
        self._files = [bench.folder / "photographs.h5"] if kind == "windows" else files
        self._mapped = [*self.sampler.pool.lr_images, *self.sampler.pool.hr_images]
        self.warm_up()

    def read(self, number: int) -> Measured:
        """Make so many batches."""
        meter = Meter()
        meter.start()
        for iteration in range(number):
            self.sampler.batch(iteration)
        return meter.stop(number)

    def read_unturned(self, number: int) -> Measured:
        """Make so many batches of patches that lie as they are stored."""
        as_stored = np.zeros(self._batch, np.int64)
        meter = Meter()
        meter.start()
        for iteration in range(number):
            self.sampler.pool.crop(self.sampler.draw(iteration)._replace(transform=as_stored))
        return meter.stop(number)

    def read_cold(self, number: int) -> Measured:
        """Make so many batches, each with nothing of the pixels' files in memory."""
        turns = []
        for iteration in range(number):
            for pixels in self._mapped:
                let_go(pixels)
            for path in self._files:
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            meter = Meter()
            meter.start()
            self.sampler.batch(iteration)
            turns.append(meter.stop(1))
        self.warm_up()
        return Measured(sum(turn.seconds for turn in turns), number, max(turn.peak_mib for turn in turns))

    def warm_up(self) -> None:
        """Bring the files of the pixels into memory."""
        for pixels in self._mapped:
            pixels.reshape(-1)[::1024].max()
