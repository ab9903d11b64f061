"""The partial state of a stage in progress, from which a stage that was stopped continues.

It lies in a hidden folder beside the snapshot: ``state.safetensors``, and ``lock``, held by the process that
works on the stage. Snakemake does not know the folder and so does not delete it before a rerun.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bspa.system.locks import exclusive
from bspa.training.snapshot import Snapshot, load_snapshot, save_snapshot

log = logging.getLogger("bspa")

HASHED_BYTES = 1 << 28
"""Files up to this size count by content."""


def digest_inputs(precision: str, inputs: Sequence[str | os.PathLike[str]]) -> str:
    """Digest what the key of a stage does not hold: the precision that was chosen, and the input files.

    Files up to 256 MiB count by content, larger ones (packed images, shards) by size and time of change; a
    folder counts by its files.
    """
    digest = hashlib.sha256(precision.encode())
    for path in map(Path, inputs):
        for file in sorted(path.glob("[!.]*")) if path.is_dir() else [path]:
            stat = file.stat()
            if stat.st_size <= HASHED_BYTES:
                with file.open("rb") as content:
                    digest.update(hashlib.file_digest(content, "sha256").digest())
            else:
                digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A stage after some of its steps."""

    snapshot: Snapshot
    step: int
    """Steps of this stage that are done."""
    device_seconds: float
    """Time spent in steps."""
    rows: list[dict[str, float]]
    """The journal so far."""
    losses: list[float]
    """Losses since the last row."""


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """Where the checkpoint of a stage lies, locked (see `open_checkpoints`)."""

    folder: Path
    identity: dict[str, str]
    """``key`` and ``inputs`` of the stage: a checkpoint with others is of no use."""

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / "state.safetensors"

    def load(self) -> Checkpoint | None:
        """Return the stage's checkpoint, or None; one of other settings or inputs is deleted."""
        if not self.path.exists():
            return None
        snapshot, metadata = load_snapshot(self.path)
        if not is_of(metadata, self.identity):
            log.info("the partial state in %s is of other settings or inputs: starting afresh", self.folder)
            self.path.unlink()
            return None
        return Checkpoint(
            snapshot=snapshot,
            step=int(metadata["step"]),
            device_seconds=float(metadata["device_seconds"]),
            rows=json.loads(metadata["rows"]),
            losses=json.loads(metadata["losses"]),
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint, atomically."""
        metadata = {
            **self.identity,
            "step": str(checkpoint.step),
            "device_seconds": repr(checkpoint.device_seconds),
            "rows": json.dumps(checkpoint.rows),
            "losses": json.dumps(checkpoint.losses),
        }
        save_snapshot(self.path, checkpoint.snapshot, metadata)

    def remove(self) -> None:
        """Delete the folder: the stage is finished."""
        shutil.rmtree(self.folder)


def is_of(metadata: dict[str, str], identity: dict[str, str]) -> bool:
    """Tell whether a file's metadata name the stage of ``identity``."""
    return {name: metadata.get(name) for name in identity} == identity


@contextmanager
def open_checkpoints(snapshot: str, *, key: str, inputs: str) -> Iterator[CheckpointFolder]:
    """Lock the checkpoint folder of a stage; wait while another process works on it.

    Args:
        snapshot: the file that the stage is going to write; the folder lies beside it.
        key: of the stage's product.
        inputs: see `digest_inputs`.
    """
    folder = Path(snapshot).with_name(f".{Path(snapshot).stem}.partial")
    with exclusive(folder / "lock"):
        yield CheckpointFolder(folder, {"key": key, "inputs": inputs})
