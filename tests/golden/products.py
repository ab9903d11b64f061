"""Digests of the products under results/, in the order of the chain that makes them.

Nothing here knows the library: products are read with h5py, safetensors and pandas. A digest holds the data
by name: datasets, tensors and columns, each with its dtype, shape and bytes. Left out are the files' headers
and attributes, keys, times, and the folders that photographs lie in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file

Arrays = dict[str, NDArray[Any]]
Product = dict[str, Any]
Reader = Callable[[Path], Arrays]

IN_A_FOLDER = ("maps", "uniform", "inverse", "informative", "uncertainty", "weighted")
"""What comes first of the files of one folder: before masks, and before selections."""
TENSOR_GROUPS = ("weights", "exp_avg", "exp_avg_sq", "average", "importance", "mask")


def digest_products(results: Path) -> dict[str, Product]:
    """Digest every product under ``results``: path within it -> product, in the order of the chain.

    A product has ``sha256``, of all its content, and ``parts``: name of a dataset, a column or a group of
    tensors -> its `_summary`.
    """
    return {
        path.relative_to(results).as_posix(): _digest(read(path), tensors=path.suffix == ".safetensors")
        for pattern, read in CHAIN
        for path in _sorted(results.glob(pattern))
    }


def _read_hdf5(path: Path) -> Arrays:
    with h5py.File(path) as file:
        return {
            name: np.array(file[name].asstr()[:], dtype=np.str_)
            if h5py.check_string_dtype(file[name].dtype)
            else file[name][()]
            for name in sorted(file)
        }


def _read_tensors(path: Path) -> Arrays:
    return dict(sorted(load_file(path).items()))


def _table(columns: Sequence[str] = (), without: str = "\0", files: Sequence[str] = ()) -> Reader:
    """Return a reader of a CSV file: of ``columns`` or all but those whose names have the word ``without``.

    Of the paths in the columns ``files``, only the file's name counts.
    """

    def read(path: Path) -> Arrays:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
        for name in files:
            text[name] = [PurePosixPath(value).name for value in text[name]]
        names = [name for name in columns or text.columns if without not in name]
        arrays = {name: _column(list(text[name])) for name in names}
        # SSIM is another library's: equal to the digits that anyone prints.
        return {name: np.round(values, 6) if "ssim" in name else values for name, values in arrays.items()}

    return read


def _column(values: list[str]) -> NDArray[Any]:
    """Return a column as whole numbers, else as numbers (empty cells: NaN), else as text."""
    if values and all(re.fullmatch(r"-?[0-9]{1,18}", value) for value in values):
        return np.array([int(value) for value in values], np.int64)
    try:
        numbers = [float(value) if value else np.nan for value in values]
    except ValueError:
        return np.array(values, dtype=np.str_)
    return np.array(numbers, np.float64) if any(values) else np.array(values, dtype=np.str_)


def _read_summary(path: Path) -> Arrays:
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: np.array([content[name]], np.int64) for name in ("parameters", "steps")}


def _read_stage(path: Path) -> Arrays:
    return _journal(path) if path.suffix == ".csv" else _read_tensors(path)


_journal = _table(("step", "epoch", "loss", "learning_rate"))

CHAIN: tuple[tuple[str, Reader], ...] = (
    ("data/*/manifest.csv", _table(files=("path", "lr_path"))),
    ("data/*/x[234].h5", _read_hdf5),
    ("sub_images/*/x[234].h5", _read_hdf5),
    ("reference/x[234].csv", _journal),
    ("reference/x[234]_snapshot.safetensors", _read_tensors),
    ("reference/x[234].safetensors", _read_tensors),
    ("difficulty/*/x[234]/scores.h5", _read_hdf5),
    ("difficulty/*/x[234]/*/thresholds.csv", _table(without="key")),
    ("shards/*/x[234]/*/class*.h5", _read_hdf5),
    ("informative/*/x[234]/*.h5", _read_hdf5),
    ("training/*/cycle*/*[vs]", _read_stage),  # .csv and .safetensors
    ("models/*.safetensors", _read_tensors),
    ("models/*.json", _read_summary),
    ("evaluation/*/*.csv", _table(without="key")),
    ("tables/*.csv", _table(without="_seconds")),
)
"""Files and how to read them, in the order they are made."""


def _sorted(paths: Iterable[Path]) -> list[Path]:
    """Sort by folder, numbers in their names by value; within a folder as the files are made."""

    def place(path: Path) -> tuple[Any, ...]:
        parts = re.split(r"(\d+)", str(path.parent))
        numbered = [(part.isdigit(), int(part) if part.isdigit() else part) for part in parts]
        first = IN_A_FOLDER.index(path.stem) if path.stem in IN_A_FOLDER else len(IN_A_FOLDER)
        return numbered, first, path.name

    return sorted(paths, key=place)


def _digest(arrays: Arrays, *, tensors: bool) -> Product:
    groups: dict[str, Arrays] = {}
    for name, values in arrays.items():
        prefix = name.partition(".")[0]
        group = (prefix if prefix in TENSOR_GROUPS else TENSOR_GROUPS[0]) if tensors else name
        groups.setdefault(group, {})[name] = values
    return {
        "sha256": _sha256(arrays),
        "parts": {group: _summary(members) for group, members in groups.items()},
    }


def _sha256(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = arrays[name]
        if values.dtype.kind == "U":
            dtype, content = "text", json.dumps(values.tolist()).encode()
        else:
            values = values.astype(values.dtype.newbyteorder("<"), copy=False)
            dtype, content = values.dtype.name, values.tobytes()
        digest.update(f"{name} {dtype} {list(values.shape)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _summary(arrays: Arrays) -> dict[str, Any]:
    """Return the kind of the values, the first digits of their digest, their number, and sums to 9 digits."""
    kinds = {"f": "float", "i": "int", "u": "int", "b": "bool", "U": "text"}
    kind = kinds[next(iter(arrays.values())).dtype.kind]
    digest = _sha256(arrays)[:12]
    if kind == "text":
        return {"kind": kind, "digest": digest, "count": sum(values.size for values in arrays.values())}
    numbers = np.concatenate([values.ravel() for values in arrays.values()]).astype(np.float64)
    numbers = numbers[~np.isnan(numbers)]
    values = {"sum": numbers.sum(), "abs": np.abs(numbers).sum()}
    if numbers.size:
        values |= {"min": numbers.min(), "max": numbers.max()}
    rounded = {name: float(f"{value:.9g}") for name, value in values.items()}
    return {"kind": kind, "digest": digest, "count": numbers.size, **rounded}
