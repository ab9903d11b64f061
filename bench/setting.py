"""What is measured: sizes, networks, and the photographs of scikit-image or of the folder BSPA_DATA."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bspa.data.inspection import make_manifest
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images
from bspa.data.sources import PhotoFile, list_files
from bspa.difficulty.grid import count_windows
from bspa.difficulty.windows import Windows, read_windows, write_windows
from bspa.models.layers import Network
from bspa.training.task import build_seeded

SCALE = 4
TRAIN = [
    "astronaut", "brick", "grass", "gravel", "hubble_deep_field", "ihc", "motorcycle_left", "retina",
    "rocket",
]  # fmt: skip
TEST = ["camera", "chelsea", "coffee"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where, and the paper's sizes."""

    folder: Path
    """For files; removed at the end."""
    device: torch.device
    threads: int
    tiny: bool = False
    patch: int = 128
    step: int = 64
    threshold: int = 48
    batch: int = 16
    scored: int = 64
    """Least number of sub-images that a turn scores."""
    sub_images: int = 4000
    """Least number of sub-images in the class shards."""
    photo: tuple[int, int] = (1404, 2040)
    """Height and width of a large photograph."""
    stage_steps: int = 100
    networks: dict[str, dict[str, int | float]] = field(
        default_factory=lambda: {
            "fsrcnn": {}, "edsr": {"blocks": 16, "channels": 64}, "msrresnet": {"blocks": 16, "channels": 64},
            "rcan": {"groups": 10, "blocks": 20, "channels": 64, "reduction": 16},
        }
    )  # fmt: skip
    """Options of each architecture."""

    @property
    def grid(self) -> dict[str, int]:
        """The grid of sub-images, see `bspa.difficulty.grid`."""
        return {"size": self.patch, "step": self.step, "threshold": self.threshold}

    def build(self, arch: str) -> Network:
        """Return a network on the device, always with the same weights."""
        return build_seeded(arch, SCALE, self.networks[arch], seed=0).to(self.device)


TINY: dict[str, Any] = {
    "tiny": True, "patch": 32, "step": 64, "threshold": 64, "batch": 2, "scored": 4, "sub_images": 24,
    "photo": (96, 80), "stage_steps": 4,
    "networks": {
        "fsrcnn": {}, "edsr": {"blocks": 1, "channels": 8}, "msrresnet": {"blocks": 1, "channels": 8},
        "rcan": {"groups": 1, "blocks": 1, "channels": 8, "reduction": 4},
    },
}  # fmt: skip
"""Sizes that test the bench itself."""


def training_files(*, tiny: bool = False) -> list[PhotoFile]:
    """List photographs to train on."""
    if data := os.environ.get("BSPA_DATA"):
        files = list_files("folder", path=Path(data, "train", "bsds400"))
    else:
        files = list_files("builtin", photos=TRAIN)
    return files[:2] if tiny else files


def benchmark_files(name: str) -> list[PhotoFile]:
    """List pairs of HR and LR photographs to evaluate on; the built-in ones are HR alone."""
    if data := os.environ.get("BSPA_DATA"):
        folder = Path(data, "benchmarks", name, f"x{SCALE}")
        return list_files("folder", path=folder, hr="*_HR.png", lr="*_LR.png", scales=[SCALE])
    return list_files("builtin", photos=TEST)


def pack(files: list[PhotoFile], path: Path) -> PackedImages:
    """Pack photographs as the workflow does."""
    pack_images(make_manifest(files), path, scale=SCALE, key="")
    return PackedImages(path)


def make_photograph(source: Pixels, shape: tuple[int, int], seed: int) -> Pixels:
    """Return a photograph of any size, another one for each seed."""
    random = np.random.default_rng(seed)
    before = [int(random.integers(side)) for side in source.shape[:2]]
    pads = [(first, max(0, side - first)) for first, side in zip(before, shape, strict=True)]
    mirrored = np.pad(source, [*pads, (0, 0)], mode="symmetric")[: shape[0], : shape[1]].astype(np.int16)
    mirrored += random.integers(-2, 3, mirrored.shape, np.int8)
    return mirrored.clip(0, 255).astype(np.uint8)


def sub_images(bench: Bench, number: int) -> tuple[PackedImages, Windows]:
    """Return at least ``number`` sub-images; the photographs repeat if there are too few."""
    sources = training_files(tiny=bench.tiny)
    packed, path = bench.folder / "photographs.h5", bench.folder / "windows.h5"
    once = count_windows(pack(sources, packed).hr_shapes, **bench.grid)
    copies = [replace(file, id=f"{file.id}-{n}") for n in range(-(-number // once)) for file in sources]
    images = pack(copies, packed)
    write_windows(path, images.hr_shapes, **bench.grid, scale=SCALE, key="")
    return images, read_windows(path)


def first(windows: Windows, number: int) -> Windows:
    """Return the first windows."""
    return replace(windows, **{name: getattr(windows, name)[:number] for name in ("image", "top", "left")})
