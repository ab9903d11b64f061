"""Write class shards: the sub-images of each difficulty class as one file, their pixels or where they lie.

HDF5, N_k members in the order of the scores:

| dataset | holds |
|---|---|
| mse | (N_k,) difficulty |
| image, top, left | (N_k,) where the member lies in the packed images, HR pixels |
| lr, hr | (N_k, p, p, 3), (N_k, P, P, 3) uint8, contiguous, to be memory-mapped; not with windows |

Attributes: format, format_version, key, samples (``pixels`` or ``windows``), scale, size (P), class,
thresholds, reference_sha256. Windows take 16 bytes a member; training cuts the same pixels out of the packed
images.

Shape legend: N_k members of class k, P and p pixels of an HR and an LR sub-image.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bspa.data.crops import check_windows, crop_pairs
from bspa.data.packed import PackedImages
from bspa.difficulty.classes import assign_classes
from bspa.difficulty.classes import thresholds as largest_scores
from bspa.difficulty.scores import Scores
from bspa.system.files import atomic_folder
from bspa.system.hdf5 import create_hdf5, let_go
from bspa.system.progress import Progress

FORMAT = "bspa-class-shard"
FORMAT_VERSION = 2
BLOCK_BYTES = 8 << 20
"""HR pixels that are cut before they are written."""

Samples = Literal["pixels", "windows"]
Pixels = NDArray[np.uint8]


def shard_path(directory: str | os.PathLike[str], k: int) -> Path:
    """Return the path of the shard of class ``k`` = 1..K."""
    return Path(directory) / f"class{k:02}.h5"


def write_class_shards(
    directory: str | os.PathLike[str],
    images: PackedImages,
    scores: Scores,
    sizes: ArrayLike,
    *,
    thresholds: ArrayLike,
    samples: Samples,
    key: str,
) -> None:
    """Write ``class01.h5`` ... into ``directory``, in one pass over the images, in memory of constant size.

    The directory appears when all its files are complete, and replaces an earlier one.

    Args:
        directory: where the shards go.
        images: what the sub-images are cut from.
        scores: difficulty and position of each sub-image.
        sizes: (K,) members of each class, easiest first.
        thresholds: (K,) largest MSE of each class.
        samples: ``pixels`` to cut the sub-images now, ``windows`` to store only where they lie.
        key: of the product.

    Raises:
        ValueError: the scores belong to other images, the classes to other scores, or ``samples`` is unknown.
    """
    check_samples(samples)
    sizes, thresholds = np.asarray(sizes, np.int64), np.asarray(thresholds, np.float64)
    if scores.scale != images.scale:
        raise ValueError(f"the scores are for scale {scores.scale}, the images for scale {images.scale}")
    check_windows(images, scores.image, scores.top, scores.left, scores.size)
    if not np.array_equal(largest_scores(scores.mse, sizes), thresholds):
        raise ValueError(
            "the thresholds do not come from these scores; remove their file and let compute_thresholds "
            "make it again"
        )
    classes = assign_classes(scores.mse, sizes)
    attributes = {
        "samples": samples, "scale": scores.scale, "size": scores.size, "thresholds": thresholds,
        "reference_sha256": scores.reference_sha256,
    }  # fmt: skip
    with atomic_folder(directory) as folder:
        layouts = []
        for k in range(1, len(sizes) + 1):
            path = shard_path(folder, k)
            with create_hdf5(path, FORMAT, FORMAT_VERSION, key=key, **attributes, **{"class": k}) as file:
                for name in ("mse", "image", "top", "left"):
                    file[name] = getattr(scores, name)[classes == k]
                if samples == "pixels":
                    layouts.append(_lay_out(file, path, scores, int(sizes[k - 1])))
        if layouts:
            _write_pixels(layouts, images, scores, classes - 1)


def check_samples(samples: str) -> None:
    """Raise a ValueError if ``samples`` is not one of `Samples`."""
    if samples not in get_args(Samples):
        raise ValueError(f"samples is {samples!r}; it must be one of {', '.join(get_args(Samples))}")


class _Layout(NamedTuple):
    """A shard whose pixels are still to be written."""

    path: Path
    lr: int
    """First byte of the dataset, as in `hr`."""
    hr: int


def _lay_out(file: h5py.File, path: Path, scores: Scores, members: int) -> _Layout:
    """Reserve the space of the pixels, which are then written without HDF5."""
    placed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    placed.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    offsets = {}
    for name, side in (("lr", scores.size // scores.scale), ("hr", scores.size)):
        shape = members, side, side, 3
        dataset = file.create_dataset(name, shape, np.uint8, dcpl=placed, fill_time="never")
        offsets[name] = dataset.id.get_offset()
    return _Layout(path, **offsets)


def _write_pixels(
    layouts: Sequence[_Layout], images: PackedImages, scores: Scores, classes: NDArray[np.int64]
) -> None:
    """Cut the sub-images block by block, each straight to its place in a block sorted by class, 0..K-1.

    One thread writes a block while the next is cut. Another flushes to the disk early, so that the end does
    not wait for all of it.
    """
    size, small, total = scores.size, scores.size // scores.scale, len(scores)
    block = min(max(1, BLOCK_BYTES // (3 * size**2)), total)
    buffers = [
        (np.empty((block, small, small, 3), np.uint8), np.empty((block, size, size, 3), np.uint8))
        for _ in range(2)
    ]
    filled = [0] * len(layouts)
    progress = Progress("sub-images written", total)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(layout.path.open("rb+", buffering=0)) for layout in layouts]
        writer, flusher = (stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2))

        def write(lr: Pixels, hr: Pixels, counts: list[int]) -> None:
            start = 0
            for k, count in enumerate(counts):
                for first, pixels in ((layouts[k].lr, lr), (layouts[k].hr, hr)):
                    offset = first + filled[k] * pixels[0].size
                    _write_at(files[k].fileno(), pixels[start : start + count], offset)
                filled[k] += count
                start += count

        def flush() -> None:
            for file in files:
                os.fsync(file.fileno())

        written: deque[Future[None]] = deque()
        flushed = flusher.submit(flush)
        for start, out in zip(range(0, total, block), itertools.cycle(buffers), strict=False):
            if len(written) == len(buffers):
                written.popleft().result()
                if flushed.done():
                    flushed.result()
                    flushed = flusher.submit(flush)
            some = slice(start, start + block)
            places = np.argsort(np.argsort(classes[some], kind="stable"))
            windows = scores.image[some], scores.top[some], scores.left[some]
            crop_pairs(images, *windows, size, out=out, places=places)
            counts = np.bincount(classes[some], minlength=len(files)).tolist()
            written.append(writer.submit(write, *out, counts))
            for mapped in (images.lr(0), images.hr(0)):
                let_go(mapped)
            progress.report(start + len(places))
        for future in (*written, flushed):
            future.result()


def _write_at(file: int, pixels: Pixels, offset: int) -> None:
    """Write all of ``pixels``, also where the system writes a part at a time."""
    left = pixels.reshape(-1).data
    while left:
        done = os.pwrite(file, left, offset)
        left, offset = left[done:], offset + done
