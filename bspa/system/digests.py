"""Digests beside products: what a disk or a hand has changed since a job made it is not used in silence.

The product `x4.h5` has its SHA-256 in `.x4.h5.sha256`; the next line says how it was computed, as JSON. A
product without one, as of older versions, is taken.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bspa.system.files import write_text


def remove_digests(products: Iterable[str]) -> None:
    """Forget the digests of what is about to be made again."""
    for product in products:
        _beside(Path(product)).unlink(missing_ok=True)


def write_digests(products: Iterable[str], note: Any = None) -> None:
    """Store the digest of each file or folder beside it, and a note of plain values."""
    for product in map(Path, products):
        write_text(_beside(product), f"{_digest(product)}\n{json.dumps(note)}\n")


def read_note(product: str | os.PathLike[str]) -> Any:
    """Return the note beside a product; None if it has none."""
    stored = _beside(Path(product))
    lines = stored.read_text(encoding="utf-8").splitlines() if stored.exists() else []
    return json.loads(lines[1]) if len(lines) > 1 else None


def check_digests(products: Iterable[str]) -> None:
    """Compare products with their digests.

    Raises:
        ValueError: naming the first that is not as its job left it.
    """
    for product in map(Path, products):
        stored = _beside(product)
        if stored.exists() and stored.read_text(encoding="utf-8").split("\n")[0] != _digest(product):
            raise ValueError(
                f"{product}: it is not as the job that made it left it (damaged on the disk, or edited). "
                "Delete it, and run the same command again: it will be made anew"
            )


def _beside(product: Path) -> Path:
    return product.with_name(f".{product.name}.sha256")


def _digest(product: Path) -> str:
    """SHA-256 of a file, or of the names and digests of a folder's files."""
    if not product.is_dir():
        with product.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    # Snakemake marks a folder with a hidden file, after the job.
    files = sorted(file for file in product.rglob("[!.]*") if file.is_file())
    lines = [f"{file.relative_to(product)} {_digest(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
