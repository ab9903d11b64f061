"""Create and open HDF5 files of a stated format; map their values into memory, and let go of them."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from bspa.system.files import atomic_path

PAGE = 4096


@contextmanager
def create_hdf5(
    path: str | os.PathLike[str], kind: str, version: int, *, key: str, **attributes: Any
) -> Iterator[h5py.File]:
    """Create ``path`` for writing; it gets its name when the block has succeeded.

    ``kind`` and ``version`` become its attributes ``format`` and ``format_version``. Large datasets begin on
    whole pages, to be mapped into memory.

    Raises:
        OSError: the disk is full; with ``path`` as its file name.
    """
    with atomic_path(path) as temporary, _Disk(temporary, "w+") as disk:
        try:
            with h5py.File(disk, "w", alignment_threshold=PAGE, alignment_interval=PAGE) as file:
                file.attrs.update({"format": kind, "format_version": version, "key": key, **attributes})
                yield file
        finally:
            if disk.error:
                raise disk.error from None


class _Disk(io.FileIO):
    """A file that fails once: HDF5 itself fails again as it closes a file on a full disk, and may crash."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of ``data``, or raise; after a failure, do nothing."""
        rest = memoryview(data).cast("B")
        try:
            while rest and not self.error:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
            raise
        return memoryview(data).nbytes

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file; after a failure, do nothing."""
        return 0 if self.error else super().truncate(size)


@contextmanager
def open_hdf5(path: str | os.PathLike[str], kind: str, version: int, *, rule: str) -> Iterator[h5py.File]:
    """Open ``path`` for reading.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, of another kind or version; the message names ``rule``, which makes it.
    """
    try:
        # Files appear whole and do not change: no lock is needed, which some file systems do not have.
        with h5py.File(path, "r", locking=False) as file:
            found = file.attrs.get("format"), file.attrs.get("format_version")
            if found != (kind, version):
                raise ValueError(f"format {found[0]!r} version {found[1]}, not {kind!r} version {version}")
            size = Path(path).stat().st_size
            if any(dataset.nbytes > size for dataset in file.values()):  # it would be read into memory
                raise ValueError("a dataset is larger than the file")
            yield file
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # on damaged data h5py raises whatever comes to hand
        raise ValueError(f"cannot use {path} ({error}); remove it and let {rule} make it again") from error


def memory_map(
    path: str | os.PathLike[str], dataset: h5py.Dataset, dtype: DTypeLike = np.uint8
) -> NDArray[Any]:
    """Map a contiguous ``dataset`` of the file ``path``; it is read where it is touched."""
    offset = dataset.id.get_offset()
    if offset is None or dataset.dtype != dtype:
        raise ValueError(f"{dataset.name} is not a contiguous {np.dtype(dtype)} dataset")
    # As a plain array: each slice of a memmap object costs several microseconds more.
    return np.memmap(path, dtype, "r", offset, dataset.shape).view(np.ndarray)


def let_go(mapped: NDArray[Any]) -> None:
    """Release the pages of a mapped array from this process's memory, until they are touched again."""
    owner: object = mapped
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)
