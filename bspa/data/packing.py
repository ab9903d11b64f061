"""Pack a source's HR and LR images at one scale into one file.

HDF5, uint8 samples image after image in two contiguous datasets, to be memory-mapped:

| dataset | holds |
|---|---|
| hr, lr | samples (row, column, channel), image after image |
| hr_offset, lr_offset | (n,) first sample of each image |
| hr_shape, lr_shape | (n, 2) height and width |
| id | (n,) names, UTF-8 |

Attributes: format, format_version, key, scale, border, lr_origin (``imresize`` or ``given``).
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bspa.data.manifest import cut_shapes, rows_for_scale
from bspa.data.photos import decode_photo, read_bytes
from bspa.data.resize import imresize
from bspa.system.hdf5 import create_hdf5
from bspa.system.parallel import map_in_order
from bspa.system.progress import Progress

FORMAT = "bspa-packed"
FORMAT_VERSION = 2

Pixels = NDArray[np.uint8]


def pack_images(
    manifest: pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    scale: int,
    border: str = "clamp",
    threads: int = 4,
    key: str,
) -> None:
    """Pack the photographs of ``manifest``: HR cut to a multiple of ``scale`` (bottom, right), and LR.

    LR are the given files if the manifest has pairs; otherwise `imresize` makes them, with ``border``. Each
    of the ``threads`` has an image at a time; few more are in memory.

    Raises:
        ValueError: a file has changed since the manifest was made, or no pixel is left at this scale.
    """
    rows = rows_for_scale(manifest, scale)
    hr_shapes = cut_shapes(rows, scale)
    if not hr_shapes.all():
        empty = ", ".join(rows["path"].to_numpy()[~hr_shapes.all(axis=1)])
        raise ValueError(f"no LR pixel is left at scale {scale} of {empty}")
    given = bool(rows["scale"].notna().any())

    def load(row: Any) -> tuple[Pixels, Pixels]:
        height, width = row.height // scale * scale, row.width // scale * scale
        hr = _read_checked(row.path, row.sha256)[:height, :width]
        lr = _read_checked(row.lr_path, row.lr_sha256) if given else imresize(hr, 1 / scale, border=border)
        assert hr.shape[:2] == (height, width), "the digest is that of a file of this size"
        assert lr.shape[:2] == (height // scale, width // scale), "make_manifest has checked pairs"
        return hr, lr

    attributes = {"scale": scale, "border": border, "lr_origin": "given" if given else "imresize"}
    with create_hdf5(path, FORMAT, FORMAT_VERSION, key=key, **attributes) as file:
        file["id"] = rows["id"].tolist()
        for name, shapes in (("hr", hr_shapes), ("lr", hr_shapes // scale)):
            ends = np.cumsum(3 * shapes.prod(axis=1))
            file[f"{name}_shape"] = shapes
            file[f"{name}_offset"] = np.concatenate([[0], ends[:-1]])
            file.create_dataset(name, (ends[-1],), np.uint8, fill_time="never")
        progress = Progress("images packed", len(rows))
        written = {"hr": 0, "lr": 0}
        pairs = map_in_order(load, rows.itertuples(index=False), threads=threads)
        for done, images in enumerate(pairs, start=1):
            for name, image in zip(written, images, strict=True):
                file[name][written[name] : written[name] + image.size] = image.ravel()
                written[name] += image.size
            progress.report(done)


def _read_checked(path: str, sha256: str) -> Pixels:
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(
            f"{path} has changed since the manifest was made; delete the source's manifest.csv and run again"
        )
    return decode_photo(data, path)
