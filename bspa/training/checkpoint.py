"""The partial state of a stage in progress, kept so that a killed stage continues where it was.

It lives outside the rule's outputs, which Snakemake deletes before a rerun, in a folder of its own:
``lock`` (held by the process that works on the stage), and ``state.safetensors`` with the log so far.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bspa.system.locks import exclusive
from bspa.training.snapshot import Snapshot, load_snapshot, save_snapshot

log = logging.getLogger("bspa")

HASHED_WHOLE = 1 << 28


def stage_key(settings: Mapping[str, Any], inputs: Sequence[str | os.PathLike[str]]) -> str:
    """Digest of everything that decides what a stage computes; equal keys mean equal results.

    Files up to 256 MiB count by content, larger ones (packed images, shards) by size and time of change; a
    folder counts by its files.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    files = [
        f for path in map(Path, inputs) for f in (sorted(path.glob("[!.]*")) if path.is_dir() else [path])
    ]
    for path in files:
        stat = path.stat()
        if stat.st_size <= HASHED_WHOLE:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        else:
            digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a stage has come."""

    snapshot: Snapshot
    step: int
    """Steps of this stage that are done."""
    device_seconds: float
    rows: list[dict[str, float]]
    """The stage's log so far."""
    losses: list[float]
    """Losses since the last row."""


@dataclass(frozen=True, slots=True)
class ProgressFolder:
    """Where a stage's `Progress` lives, open and locked (see `open_progress`)."""

    folder: Path
    key: str

    def load(self) -> Progress | None:
        """Return the progress of a stage with this key, or None; one of another key is of no use and goes."""
        path = self.folder / "state.safetensors"
        if not path.exists():
            return None
        snapshot, metadata = load_snapshot(path)
        if metadata["key"] != self.key:
            log.info("the partial state in %s is of other settings or inputs: starting afresh", self.folder)
            path.unlink()
            return None
        return Progress(
            snapshot=snapshot,
            step=int(metadata["step"]),
            device_seconds=float(metadata["device_seconds"]),
            rows=json.loads(metadata["rows"]),
            losses=json.loads(metadata["losses"]),
        )

    def save(self, progress: Progress) -> None:
        """Replace the partial state by ``progress``, atomically."""
        metadata = {
            "key": self.key,
            "step": str(progress.step),
            "device_seconds": repr(progress.device_seconds),
            "rows": json.dumps(progress.rows),
            "losses": json.dumps(progress.losses),
        }
        save_snapshot(self.folder / "state.safetensors", progress.snapshot, metadata)

    def remove(self) -> None:
        """Drop the partial state: the stage is finished."""
        shutil.rmtree(self.folder)


@contextmanager
def open_progress(folder: str | os.PathLike[str], key: str) -> Iterator[ProgressFolder]:
    """Lock ``folder`` for the stage with ``key``; wait while another process works on it."""
    folder = Path(folder)
    with exclusive(folder / "lock"):
        yield ProgressFolder(folder, key)
