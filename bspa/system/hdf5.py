"""Open an HDF5 file of ours, or say what is wrong with it; map its values into memory, and let go of them."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray


@contextmanager
def open_format(path: str | os.PathLike[str], kind: str, version: int, *, rule: str) -> Iterator[h5py.File]:
    """Open ``path`` for reading if its attributes ``format`` and ``format_version`` are these.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, of another kind or of another version, or the block found it to be
            incomplete; the message names ``rule``, which makes such files.
    """
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format"), file.attrs.get("format_version")
            if found != (kind, version):
                raise ValueError(f"format {found[0]!r} version {found[1]}, not {kind!r} version {version}")
            yield file
    except FileNotFoundError:
        raise
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"cannot use {path} ({error}); remove it and let {rule} make it again") from error


def memory_map(
    path: str | os.PathLike[str], dataset: h5py.Dataset, dtype: DTypeLike = np.uint8
) -> NDArray[Any]:
    """Map a contiguous ``dataset`` of the file ``path``: nothing is read before it is touched.

    Raises:
        ValueError: the dataset is chunked or not of ``dtype``, or the file ends before it does.
    """
    offset = dataset.id.get_offset()
    if offset is None or dataset.dtype != dtype:
        raise ValueError(f"{dataset.name} is not a contiguous {np.dtype(dtype)} dataset")
    # As a plain array: each slice of a memmap object costs several microseconds more.
    return np.memmap(path, dtype, "r", offset, dataset.shape).view(np.ndarray)


def let_go(mapped: NDArray[Any]) -> None:
    """Take the pages of a file that `memory_map` mapped out of this process's memory, for one pass over it.

    They stay in the system's cache, and come back when they are touched. Other arrays are left alone.
    """
    owner: object = mapped
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)
