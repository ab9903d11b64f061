"""Packed images: a source's HR and LR images at one scale in one file that can be memory-mapped.

HDF5, all samples of all images in a row in two contiguous uint8 datasets, so that every process of a machine
shares the same pages and reads only what it touches:

| dataset | holds |
|---|---|
| hr, lr | samples (row, column, channel), image after image |
| hr_offset, lr_offset | (n,) first sample of each image |
| hr_shape, lr_shape | (n, 2) height and width |
| id | (n,) names, UTF-8 |

Attributes: format, format_version, scale, border, lr_origin (``imresize`` or ``given``).
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from bspa.data.photos import decode_photo, read_bytes
from bspa.data.resize import imresize
from bspa.system.files import atomic_path
from bspa.system.hdf5 import memory_map, open_format
from bspa.system.parallel import map_in_order
from bspa.system.progress import Reporter

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "bspa-packed"
FORMAT_VERSION = 1

Pixels = NDArray[np.uint8]


def write_packed(
    manifest: pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    scale: int,
    border: str = "clamp",
    threads: int = 4,
) -> None:
    """Pack the photographs of ``manifest``: HR cut to a multiple of ``scale`` (bottom, right), and LR.

    LR are the given files if the manifest has pairs, otherwise made by `imresize`. One pass, with a few
    images in memory at a time.

    Args:
        manifest: see `bspa.data.manifest`.
        path: HDF5 file to write.
        scale: HR pixels to an LR pixel along each side.
        border: edge rule of `imresize`; no matter for given LR files.
        threads: how many images are decoded and resized at a time.

    Raises:
        ValueError: a file is not what the manifest says (any more), or there is nothing for this scale.
    """
    # Only here: with pandas, each stage of training would take 0.3 s longer to start.
    from bspa.data.manifest import cut_shapes, rows_for_scale

    rows = rows_for_scale(manifest, scale)
    hr_shapes = cut_shapes(rows, scale)
    if rows.empty or not hr_shapes.all():
        empty = ", ".join(rows["path"].to_numpy()[~hr_shapes.all(axis=1)])
        raise ValueError(f"no LR pixel is left at scale {scale} of {empty or 'an empty manifest'}")
    lr_shapes = hr_shapes // scale
    given = bool(rows["scale"].notna().any())
    sources = [_Source(*row) for row in rows[list(_Source._fields)].itertuples(index=False)]

    def load(source: _Source) -> tuple[Pixels, Pixels]:
        hr = _read_checked(source.path, source.sha256)
        if hr.shape[:2] != (source.height, source.width):
            found = f"{hr.shape[1]}x{hr.shape[0]}"
            raise ValueError(_stale(source.path, f"is {found} pixels, not {source.width}x{source.height}"))
        height, width = hr.shape[0] // scale * scale, hr.shape[1] // scale * scale
        hr = hr[:height, :width]
        if not given:
            return hr, imresize(hr, 1 / scale, border=border)
        lr = _read_checked(source.lr_path, source.lr_sha256)
        if lr.shape[:2] != (height // scale, width // scale):
            raise ValueError(_stale(source.lr_path, f"does not fit {source.path} at scale {scale}"))
        return hr, lr

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "scale": scale,
                "border": border,
                "lr_origin": "given" if given else "imresize",
            }
        )
        file["id"] = np.array(rows["id"], dtype=h5py.string_dtype())
        for name, shapes in (("hr", hr_shapes), ("lr", lr_shapes)):
            ends = np.cumsum(3 * shapes.prod(axis=1))
            file[f"{name}_shape"] = shapes
            file[f"{name}_offset"] = np.concatenate([[0], ends[:-1]])
            # Not filled first, since every sample will be written.
            file.create_dataset(name, (ends[-1],), np.uint8, fill_time="never")
        reporter = Reporter("images packed", len(sources))
        written = {"hr": 0, "lr": 0}
        for done, images in enumerate(map_in_order(load, sources, threads=threads), start=1):
            for name, image in zip(written, images, strict=True):
                file[name][written[name] : written[name] + image.size] = image.ravel()
                written[name] += image.size
            reporter.report(done)


class _Source(NamedTuple):
    """What is needed of a manifest's row."""

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


class PackedImages:
    """The images of a packed file, memory-mapped: nothing is read before it is touched.

    Raises:
        ValueError: the file is damaged, of another kind or of another format version.
    """

    scale: int
    """HR pixels to an LR pixel along each side."""
    border: str
    """Edge rule that LR was made with."""
    lr_origin: str
    """``imresize`` or ``given``."""
    ids: list[str]
    hr_shapes: NDArray[np.int64]
    """(n, 2) height and width of each HR image."""
    lr_shapes: NDArray[np.int64]
    """(n, 2) height and width of each LR image."""

    def __init__(self, path: str | os.PathLike[str]):
        with open_format(path, FORMAT, FORMAT_VERSION, rule="pack_images") as file:
            self.scale = int(file.attrs["scale"])
            self.border = str(file.attrs["border"])
            self.lr_origin = str(file.attrs["lr_origin"])
            self.ids = list(file["id"].asstr()[:])
            self.hr_shapes, self.lr_shapes = file["hr_shape"][:], file["lr_shape"][:]
            self._hr_offsets, self._lr_offsets = file["hr_offset"][:], file["lr_offset"][:]
            self._hr, self._lr = memory_map(path, file["hr"]), memory_map(path, file["lr"])

    def __len__(self) -> int:
        return len(self.ids)

    def hr(self, index: int) -> Pixels:
        """Return HR image ``index`` as a read-only view (H, W, 3), uint8 RGB."""
        return _image(self._hr, self._hr_offsets[index], self.hr_shapes[index])

    def lr(self, index: int) -> Pixels:
        """Return LR image ``index`` as a read-only view (H / scale, W / scale, 3), uint8 RGB."""
        return _image(self._lr, self._lr_offsets[index], self.lr_shapes[index])


def _image(samples: Pixels, offset: np.int64, shape: NDArray[np.int64]) -> Pixels:
    height, width = shape.tolist()
    return samples[offset : offset + 3 * height * width].reshape(height, width, 3)
