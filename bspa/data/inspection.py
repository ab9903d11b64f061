"""From a source's files to its manifest: decode each photograph to its end, refuse what cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bspa.data.manifest import COLUMNS
from bspa.data.photos import decode_photo, read_bytes
from bspa.data.sources import PhotoFile, refuse
from bspa.system.parallel import map_in_order
from bspa.system.progress import Progress


class _Facts(NamedTuple):
    width: int
    height: int
    sha256: str


def make_manifest(files: Sequence[PhotoFile], *, threads: int = 4) -> pd.DataFrame:
    """Decode every file to its end and return the manifest (see `bspa.data.manifest`).

    Args:
        files: from `bspa.data.sources.list_files`.
        threads: how many files are decoded at a time.

    Raises:
        ValueError: naming every file that cannot be used and why, up to 20 of them.
    """
    paths = sorted({path for file in files for path in (file.path, file.lr_path) if path})
    progress = Progress("images decoded", len(paths))
    facts: dict[Path | None, _Facts] = {}
    problems: dict[Path, str] = {}
    for path, found in zip(paths, map_in_order(_examine, paths, threads=threads), strict=True):
        if isinstance(found, str):
            problems[path] = found
        else:
            facts[path] = found
        progress.report(len(facts) + len(problems))

    rows = []
    for file in files:
        hr, lr = facts.get(file.path), facts.get(file.lr_path)
        if hr is None:
            continue
        if lr and file.lr_path and file.scale and lr[:2] != (hr.width // file.scale, hr.height // file.scale):
            problems[file.lr_path] = (
                f"{file.lr_path}: {lr.width}x{lr.height} pixels, but {file.path} has "
                f"{hr.width}x{hr.height}, whose LR at scale {file.scale} is "
                f"{hr.width // file.scale}x{hr.height // file.scale}"
            )
        lr_facts = str(file.lr_path or ""), lr.sha256 if lr else ""
        rows.append((file.id, str(file.path), *hr, file.scale, *lr_facts))
    refuse(f"of {len(paths)} files, {len(problems)} cannot be used", [problems[p] for p in sorted(problems)])
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"scale": "Int64"})


def _examine(path: Path) -> _Facts | str:
    """Decode a file, or say what is wrong with it."""
    try:
        data = read_bytes(path)
        height, width, _ = decode_photo(data, path).shape
    except ValueError as error:
        return str(error)
    return _Facts(width, height, hashlib.sha256(data).hexdigest())
