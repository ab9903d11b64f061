"""Files and folders that are either whole or not there; the key that a product carries."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` if the block succeeds, remove it if not.

    The temporary name keeps the suffix of ``path``, for writers that choose a format by it. Parent folders
    are made. The file reaches the disk before it gets its name, so that a power cut leaves the old file or
    the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; results are shared like any other file of the user.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder that replaces ``path`` if the block succeeds, and vanishes if not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
        folder = Path(temporary) / "new"
        folder.mkdir()
        yield folder
        for file in folder.rglob("*"):
            if file.is_file():
                flush(file)
        if path.exists():
            path.rename(Path(temporary) / "old")
        folder.rename(path)


def flush(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_folder(path: str | os.PathLike[str]) -> None:
    """Remove a folder at once, so that no other process finds it half removed or writes into it."""
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
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
    read = {".h5": _hdf5_key, ".safetensors": _safetensors_key, ".json": _json_key, ".csv": _csv_key}
    try:
        key = read[path.suffix](path)
    except (KeyError, OSError, ValueError):
        return None
    return key if isinstance(key, str) else None


def _hdf5_key(path: Path) -> Any:
    import h5py  # only here: the plan reads keys too, and must not import numpy for those of other files

    with h5py.File(path, "r") as file:
        return file.attrs["key"]


def _safetensors_key(path: Path) -> Any:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("not a safetensors file")
        return json.loads(file.read(length))["__metadata__"]["key"]


def _json_key(path: Path) -> Any:
    value = json.loads(path.read_text(encoding="utf-8"))
    return value["key"] if isinstance(value, dict) else None


def _csv_key(path: Path) -> Any:
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.DictReader(file), {})["key"]
