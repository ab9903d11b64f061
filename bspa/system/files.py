"""Files and folders that are either whole or not there; the key that a product carries."""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import json
import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system answers where no more can be written."""
DAY = 86_400


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` if the block succeeds, remove it if not.

    It keeps the suffix of ``path``, for writers that choose a format by it. Parent folders are made. The file
    reaches the disk before it gets its name, so that a power cut leaves the old file or the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{_writer()}{path.suffix}")
    try:
        with _naming(path):
            yield temporary
            flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder that replaces ``path`` if the block succeeds, and vanishes if not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{_writer()}."
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as temporary, _naming(path):
        folder = Path(temporary) / "new"
        folder.mkdir()
        yield folder
        for file in folder.rglob("*"):
            if file.is_file():
                flush(file)
        if path.exists():
            path.rename(Path(temporary) / "old")
        folder.rename(path)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in the error of a full disk: the system does not, when it answers a write."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            error.filename = str(path)
        raise


def _writer() -> str:
    """Name the machine and the process, for temporary files."""
    return f"{zlib.crc32(platform.node().encode()):08x}-{os.getpid()}"


def remove_leftovers(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Remove the temporary files and folders that killed processes left beside ``paths``.

    Those of this machine go if their process is gone, those of another machine if they are a day old.
    """
    for path in map(Path, paths):
        name = re.compile(rf"\.{re.escape(path.stem)}\.(?:.*\.)?([0-9a-f]{{8}})-([0-9]+)(?:\..*)?")
        for file in path.parent.glob(f".{glob.escape(path.stem)}.*"):
            found = name.fullmatch(file.name)
            if found and not _is_written(file, machine=found[1], process=int(found[2])):
                shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)


def _is_written(file: Path, *, machine: str, process: int) -> bool:
    if not _writer().startswith(machine):
        return time.time() - file.stat().st_mtime < DAY
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def state_folder(product: Path) -> Path:
    """Return the hidden folder, which Snakemake leaves alone, for what an unfinished job has done.

    A product and its training snapshot, ``x4`` and ``x4_snapshot``, are of one job.
    """
    return product.with_name(f".{product.stem.removesuffix('_snapshot')}.partial")


def remove_states(products: Iterable[str | os.PathLike[str]]) -> None:
    """Remove what the jobs that made ``products`` kept, in case these were not recorded as whole."""
    for folder in map(state_folder, map(Path, products)):
        if folder.exists():
            with contextlib.suppress(FileNotFoundError):  # another job that reads the product was faster
                remove_folder(folder)


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return a path as a user writes it in the config: a leading ``~`` is a home folder, all else is literal.

    Raises:
        ValueError: there is no home folder of that name.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"{os.fspath(path)!r}: no such home folder (a name may begin with ./~)") from None


def is_address(file: str) -> bool:
    """Whether a file of the config is to be fetched from an address."""
    return "://" in file


def flush(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_folder(path: str | os.PathLike[str]) -> None:
    """Remove a folder at once, so that no other process finds it half removed or writes into it."""
    path = Path(path)
    prefix = f".{path.name}.{_writer()}."
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as temporary:
        path.rename(Path(temporary) / "old")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_key(path: str | os.PathLike[str]) -> str | None:
    """Return the key of the product at ``path``, or None if it has none, is damaged or is not there.

    The key is the attribute ``key`` of an HDF5 file, in the metadata of a safetensors file, a field of a JSON
    file, or the column ``key`` of a CSV file. A folder has the key of its first HDF5 file.
    """
    path = Path(path)
    if path.is_dir():
        path = min(path.glob("*.h5"), default=path)
    try:
        key = _find_key(path)
    except (KeyError, TypeError, OSError, ValueError):
        return None
    return key if isinstance(key, str) else None


def _find_key(path: Path) -> Any:
    if path.suffix == ".h5":
        import h5py  # only here: the plan reads keys too, and must not import numpy for those of other files

        with h5py.File(path, "r", locking=False) as file:
            return file.attrs["key"]
    if path.suffix == ".safetensors":
        with path.open("rb") as header:
            length = int.from_bytes(header.read(8), "little")
            return json.loads(header.read(min(length, path.stat().st_size)))["__metadata__"]["key"]
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))["key"]
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as table:
            return next(csv.DictReader(table), {})["key"]
    return None
