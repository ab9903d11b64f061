"""The partial state of a stage in progress, from which a stage that was stopped continues.

It lies in a hidden folder beside the snapshot, which Snakemake does not delete before a rerun: the state, and
a lock held by the process that works on the stage.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bspa.system.files import remove_folder
from bspa.system.locks import exclusive
from bspa.training.snapshot import Snapshot, load_snapshot, save_snapshot

log = logging.getLogger("bspa")

HASHED_BYTES = 1 << 28


def identify(key: str, precision: str, inputs: Sequence[str | os.PathLike[str]]) -> str:
    """Digest what decides the result of a stage: equal digests mean equal results.

    ``key`` stands for settings and code. Input files up to `HASHED_BYTES` count by content, larger ones
    (packed images, shards) by size and time of change.
    """
    digest = hashlib.sha256(f"{key} {precision}".encode())
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
    """Time spent in the training loop."""
    rows: list[dict[str, float]]
    """The journal so far."""
    losses: list[float]
    """Losses since the last row."""


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """Where the checkpoint of a stage lies, locked by this process."""

    folder: Path
    identity: str
    """See `identify`."""

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / "state.safetensors"

    def load(self) -> Checkpoint | None:
        """Return the stage's checkpoint or None; delete one of another identity."""
        if not self.path.exists():
            return None
        snapshot, header = load_snapshot(self.path)
        if header.get("identity") != self.identity:
            log.info("the partial state in %s is of other settings or inputs: starting afresh", self.folder)
            self.path.unlink()
            return None
        fields = {name: json.loads(header[name]) for name in ("step", "device_seconds", "rows", "losses")}
        return Checkpoint(snapshot=snapshot, **fields)

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint, atomically."""
        header = {
            "identity": self.identity,
            "step": json.dumps(checkpoint.step),
            "device_seconds": json.dumps(checkpoint.device_seconds),
            "rows": json.dumps(checkpoint.rows),
            "losses": json.dumps(checkpoint.losses),
        }
        save_snapshot(self.path, checkpoint.snapshot, header)

    def remove(self) -> None:
        """Delete the folder: the stage is finished."""
        remove_folder(self.folder)


@contextmanager
def open_checkpoints(snapshot: str | os.PathLike[str], identity: str) -> Iterator[CheckpointFolder]:
    """Lock the folder of the stage that writes ``snapshot``; wait while another process works on it."""
    folder = Path(snapshot).with_name(f".{Path(snapshot).stem}.partial")
    with exclusive(folder / "lock"):
        yield CheckpointFolder(folder, identity)
