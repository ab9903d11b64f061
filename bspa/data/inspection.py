"""From a source's files to its manifest: decode each photograph to its end, refuse what cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bspa.data.manifest import COLUMNS
from bspa.data.photos import decode_photo, read_bytes
from bspa.data.sources import PhotoFile, refuse
from bspa.system.parallel import map_in_order
from bspa.system.progress import Progress


def make_manifest(
    files: Sequence[PhotoFile], *, minimum_side: int = 1, minimum_side_reason: str = "", threads: int = 4
) -> pd.DataFrame:
    """Decode every file to its end and return the manifest (see `bspa.data.manifest`).

    Args:
        files: from `bspa.data.sources.list_files`.
        minimum_side: width and height, in pixels, below which a photograph (or HR file) is refused.
        minimum_side_reason: what needs that, for the message.
        threads: how many files are decoded at a time.

    Raises:
        ValueError: naming every file that cannot be used and why, up to 20 of them.
    """
    paths = sorted({path for file in files for path in (file.path, file.lr_path) if path})
    progress = Progress("images decoded", len(paths))
    found: dict[Path, _Facts | str] = {}
    for path, facts in zip(paths, map_in_order(_examine, paths, threads=threads), strict=True):
        found[path] = facts
        progress.report(len(found))
    problems = {path: facts for path, facts in found.items() if isinstance(facts, str)}

    because = f" ({minimum_side_reason})" if minimum_side_reason else ""
    rows = []
    for file in files:
        whole, small = found[file.path], found[file.lr_path] if file.lr_path else None
        if isinstance(whole, str):
            continue
        if min(whole.width, whole.height) < minimum_side:
            problems[file.path] = f"{file.path}: {whole.size} pixels, {minimum_side} are needed{because}"
        if isinstance(small, _Facts) and file.lr_path and file.scale:
            expected = f"{whole.width // file.scale}x{whole.height // file.scale}"
            if small.size != expected:
                problems[file.lr_path] = (
                    f"{file.lr_path}: {small.size} pixels, but {file.path} has {whole.size}, whose LR at "
                    f"scale {file.scale} is {expected}"
                )
        lr_sha256 = small.sha256 if isinstance(small, _Facts) else ""
        lr_path = str(file.lr_path) if file.lr_path else ""
        facts_of_hr = whole.width, whole.height, whole.sha256
        rows.append((file.id, str(file.path), *facts_of_hr, file.scale, lr_path, lr_sha256))
    refuse(f"of {len(paths)} files, {len(problems)} cannot be used", [problems[p] for p in sorted(problems)])
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"scale": "Int64"})


@dataclass(frozen=True, slots=True)
class _Facts:
    width: int
    height: int
    sha256: str

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


def _examine(path: Path) -> _Facts | str:
    """Decode a file, or say what is wrong with it."""
    try:
        data = read_bytes(path)
        height, width, _ = decode_photo(data, path).shape
    except ValueError as error:
        return str(error)
    return _Facts(width, height, hashlib.sha256(data).hexdigest())
