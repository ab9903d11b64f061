"""Pack a source's HR and LR images at one scale into one file.

HDF5, uint8 samples image after image in two contiguous datasets, to be memory-mapped:

| dataset | holds |
|---|---|
| hr, lr | samples (row, column, channel), image after image |
| hr_offset, lr_offset | (n,) first sample of each image |
| hr_shape, lr_shape | (n, 2) height and width |
| id | (n,) names, UTF-8 |
| degradation | (n,) where LR is degraded: JSON, the steps with the values drawn for each image |

Attributes: format, format_version, key, scale, border, lr_origin (``imresize``, ``given`` or ``degraded``);
where LR is degraded, degradation (the steps, JSON) and degradation_seed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bspa.data.degradation import Step, degrade
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
    degradation: Sequence[Step] = (),
    seed: int = 0,
    threads: int = 4,
    key: str,
) -> None:
    """Pack the photographs of ``manifest``: HR cut to a multiple of ``scale`` (bottom, right), and LR.

    LR are the given files if the manifest has pairs; otherwise `imresize` makes them, with ``border``, and
    the steps of ``degradation`` (see `bspa.data.degradation`) degrade them, drawn from ``seed``. Each of the
    ``threads`` has an image at a time; few more are in memory.

    Raises:
        ValueError: a file has changed since the manifest was made, no pixel is left at this scale, or given
            LR files were to be degraded.
    """
    rows = rows_for_scale(manifest, scale)
    hr_shapes = cut_shapes(rows, scale)
    if not hr_shapes.all():
        empty = ", ".join(rows["path"].to_numpy()[~hr_shapes.all(axis=1)])
        raise ValueError(f"no LR pixel is left at scale {scale} of {empty}")
    given = bool(rows["scale"].notna().any())
    if given and degradation:
        raise ValueError(f"the LR image of {rows['path'].iloc[0]} is given, so it cannot be degraded")
    shrink = partial(imresize, scale=1 / scale, border=border)
    drawn: dict[str, str] = {}

    def load(row: Any) -> tuple[Pixels, Pixels]:
        height, width = row.height // scale * scale, row.width // scale * scale
        hr = _read_checked(row.path, row.sha256)[:height, :width]
        if degradation:
            lr, values = degrade(hr, shrink, degradation, seed=seed, scale=scale, sha256=row.sha256)
            drawn[row.id] = json.dumps(values)
        else:
            lr = _read_checked(row.lr_path, row.lr_sha256) if given else shrink(hr)
        assert hr.shape[:2] == (height, width), "the digest is that of a file of this size"
        assert lr.shape[:2] == (height // scale, width // scale), "make_manifest has checked pairs"
        return hr, lr

    origin = "degraded" if degradation else "given" if given else "imresize"
    attributes: dict[str, Any] = {"scale": scale, "border": border, "lr_origin": origin}
    if degradation:
        attributes |= {"degradation": json.dumps(degradation), "degradation_seed": seed}
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
        if degradation:
            file["degradation"] = [drawn[name] for name in rows["id"]]


def _read_checked(path: str, sha256: str) -> Pixels:
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(
            f"{path} has changed since the manifest was made; delete the source's manifest.csv and run again"
        )
    return decode_photo(data, path)
