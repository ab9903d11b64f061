"""Photographs of noise, packed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from bspa.data.manifest import COLUMNS
from bspa.data.packed import PackedImages
from bspa.data.packing import pack_images


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3) random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def pack_noise(folder: Path, *shapes: tuple[int, int], scale: int) -> PackedImages:
    """Pack photographs of HR ``shapes`` to ``folder / "x{scale}.h5"``."""
    rows = []
    for i, (height, width) in enumerate(shapes):
        path = folder / f"photo{i}.png"
        Image.fromarray(noise(height, width, i)).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append((f"photo{i}", str(path), width, height, digest))
    manifest = pd.DataFrame(rows, columns=COLUMNS[:5]).reindex(columns=COLUMNS)
    pack_images(manifest, folder / f"x{scale}.h5", scale=scale, key="test")
    return PackedImages(folder / f"x{scale}.h5")
