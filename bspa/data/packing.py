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
from typing import NamedTuple

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

    LR are the given files if the manifest has pairs; otherwise `imresize` makes them. A few images are in
    memory at a time.

    Args:
        manifest: see `bspa.data.manifest`.
        path: HDF5 file to write.
        scale: HR pixels to an LR pixel along each side.
        border: edge rule of `imresize`; unused for given LR files.
        threads: how many images are decoded and resized at a time.
        key: of the product.

    Raises:
        ValueError: a file has changed since the manifest was made, or no pixel is left at this scale.
    """
    rows = rows_for_scale(manifest, scale)
    hr_shapes = cut_shapes(rows, scale)
    if rows.empty or not hr_shapes.all():
        empty = ", ".join(rows["path"].to_numpy()[~hr_shapes.all(axis=1)])
        raise ValueError(f"no LR pixel is left at scale {scale} of {empty or 'an empty manifest'}")
    given = bool(rows["scale"].notna().any())
    sources = [_Source(*row) for row in rows[list(_Source._fields)].itertuples(index=False)]

    def load(source: _Source) -> tuple[Pixels, Pixels]:
        hr = _read_checked(source.path, source.sha256)
        if hr.shape[:2] != (source.height, source.width):
            found = f"{hr.shape[1]}x{hr.shape[0]}"
            raise ValueError(_stale(source.path, f"is {found} pixels, not {source.width}x{source.height}"))
        height, width = source.height // scale * scale, source.width // scale * scale
        hr = hr[:height, :width]
        if not given:
            return hr, imresize(hr, 1 / scale, border=border)
        lr = _read_checked(source.lr_path, source.lr_sha256)
        if lr.shape[:2] != (height // scale, width // scale):
            raise ValueError(_stale(source.lr_path, f"does not fit {source.path} at scale {scale}"))
        return hr, lr

    attributes = {"scale": scale, "border": border, "lr_origin": "given" if given else "imresize"}
    with create_hdf5(path, FORMAT, FORMAT_VERSION, key=key, **attributes) as file:
        file["id"] = rows["id"].tolist()
        for name, shapes in (("hr", hr_shapes), ("lr", hr_shapes // scale)):
            ends = np.cumsum(3 * shapes.prod(axis=1))
            file[f"{name}_shape"] = shapes
            file[f"{name}_offset"] = np.concatenate([[0], ends[:-1]])
            file.create_dataset(name, (ends[-1],), np.uint8, fill_time="never")
        progress = Progress("images packed", len(sources))
        written = {"hr": 0, "lr": 0}
        for done, images in enumerate(map_in_order(load, sources, threads=threads), start=1):
            for name, image in zip(written, images, strict=True):
                file[name][written[name] : written[name] + image.size] = image.ravel()
                written[name] += image.size
            progress.report(done)


class _Source(NamedTuple):
    """The columns of a manifest that packing needs."""

    path: str
    width: int
    height: int
    sha256: str
    lr_path: str
    lr_sha256: str


def _read_checked(path: str, sha256: str) -> Pixels:
    data = read_bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(_stale(path, f"has changed: its sha256 is {found}, not {sha256}"))
    return decode_photo(data, path)


def _stale(path: str, what: str) -> str:
    return f"{path} {what}, since the manifest was made; delete the source's manifest.csv and run again"
