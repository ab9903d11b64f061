"""What is measured on: scikit-image's photographs, or those in the folder BSPA_DATA."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sizes import SCALE, Bench

from bspa.data.crops import crop_pairs
from bspa.data.inspection import make_manifest
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images
from bspa.data.photos import read_photo
from bspa.data.sources import PhotoFile, list_files
from bspa.difficulty.grid import count_windows
from bspa.difficulty.windows import Windows, read_windows, write_windows

TRAIN = [
    "astronaut", "brick", "grass", "gravel", "hubble_deep_field", "ihc", "motorcycle_left", "retina",
    "rocket",
]  # fmt: skip
TEST = ["camera", "chelsea", "coffee"]
MOST_BENCHMARK = 5

Pixels = NDArray[np.uint8]


def training_files(bench: Bench) -> list[PhotoFile]:
    """Photographs to train on."""
    if data := os.environ.get("BSPA_DATA"):
        files = list_files("folder", path=Path(data, "train", "bsds400"))
    else:
        files = list_files("builtin", photos=TRAIN)
    return files[:2] if bench.tiny else files


def benchmark_files(bench: Bench) -> list[PhotoFile]:
    """Photographs to evaluate on."""
    if data := os.environ.get("BSPA_DATA"):
        files = list_files("folder", path=Path(data, "benchmarks", "Set14", "x4"), hr="*_HR.png")
    else:
        files = list_files("builtin", photos=TEST)
    return files[: 1 if bench.tiny else MOST_BENCHMARK]


def pack(files: list[PhotoFile], path: Path) -> PackedImages:
    """Pack photographs as the workflow does."""
    pack_images(make_manifest(files), path, scale=SCALE, key="test")
    return PackedImages(path)


def large_photo(height: int, width: int) -> Pixels:
    """Return a photograph of any size: the largest built-in one, mirrored where it ends."""
    photo = read_photo(list_files("builtin", photos=["retina"])[0].path)
    missing = [(0, max(0, side - have)) for side, have in zip((height, width), photo.shape[:2], strict=True)]
    return np.pad(photo, [*missing, (0, 0)], mode="symmetric")[:height, :width]


def sub_images(bench: Bench, number: int) -> tuple[PackedImages, Windows]:
    """Return at least ``number`` sub-images, of photographs that come again and again if need be."""
    sources = training_files(bench)
    grid = {"size": bench.patch, "step": bench.step, "threshold": bench.threshold}
    packed, path = bench.folder / "photographs.h5", bench.folder / "windows.h5"
    once = count_windows(pack(sources, packed).hr_shapes, **grid)
    copies = [replace(file, id=f"{file.id}-{n}") for n in range(-(-number // once)) for file in sources]
    images = pack(copies, packed)
    write_windows(path, images.hr_shapes, **grid, scale=SCALE, key="")
    return images, read_windows(path)


def first(windows: Windows, number: int) -> Windows:
    """Return the first of the windows."""
    return replace(windows, **{name: getattr(windows, name)[:number] for name in ("image", "top", "left")})


def write_png(path: Path, image: Pixels) -> None:
    """Write a PNG as BasicSR's scripts do: compression level 3."""
    Image.fromarray(image).save(path, compress_level=3)


def write_sub_image_pngs(folder: Path, images: PackedImages, windows: Windows) -> None:
    """Write an LR and an HR PNG for each sub-image."""
    folder.mkdir(exist_ok=True)
    for n in range(len(windows)):
        one = slice(n, n + 1)
        corners = windows.top[one], windows.left[one]
        (lr,), (hr,) = crop_pairs(images, windows.image[one], *corners, windows.size)
        write_png(folder / f"{n:06}_lr.png", lr)
        write_png(folder / f"{n:06}_hr.png", hr)


def write_training_pngs(folder: Path, images: PackedImages, *, side: int, most: int = 200) -> None:
    """Cut photographs into PNG pairs of up to ``side`` HR pixels, as BasicSR prepares its training data."""
    folder.mkdir()
    number = 0
    for i in range(len(images)):
        lr, hr = images.lr(i), images.hr(i)
        corners = itertools.product(range(0, hr.shape[0], side), range(0, hr.shape[1], side))
        for top, left in corners:
            large = hr[top : top + side, left : left + side]
            if min(large.shape[:2]) < side // 2 or number == most:
                continue
            y, x, small = top // SCALE, left // SCALE, side // SCALE
            write_png(folder / f"{number:06}_hr.png", large)
            write_png(folder / f"{number:06}_lr.png", lr[y : y + small, x : x + small])
            number += 1
