"""The partial state of a stage in progress, from which a stage that was stopped continues.

It lies in a hidden folder beside the snapshot, which Snakemake does not delete before a rerun: the state, and
a lock held by the process that works on the stage. The state at the stage's end stays until a job reads what
the stage made (`bspa.system.files.remove_states`): a Snakemake that was killed before it recorded the outputs
deletes them, and the next attempt writes them again without training.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, uint8

from bspa.system.files import remove_leftovers, state_folder
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


Row = dict[str, float | None]
"""A row of a journal, by columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A stage after some of its steps."""

    snapshot: Snapshot
    step: int
    """Steps of this stage that are done."""
    device_seconds: float
    """Time spent in the training loop."""
    rows: list[Row]
    """The journal so far."""
    losses: list[float]
    """Losses since the last row."""


FIELDS = ("step", "device_seconds", "rows", "losses")
"""What a checkpoint holds besides the snapshot, as JSON in its header."""


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
        """Return the stage's checkpoint or None; delete one of another identity, set a damaged one aside."""
        if not self.path.exists():
            return None
        try:
            snapshot, header = load_snapshot(self.path)
            if header["identity"] != self.identity:
                log.info("the partial state in %s is of other settings or inputs", self.folder)
                self.path.unlink(missing_ok=True)
                return None
            fields = {name: header[name] for name in FIELDS}
            if header["sha256"] != _digest(snapshot, fields):
                raise ValueError("its content is not what was saved")
            return Checkpoint(snapshot=snapshot, **{name: json.loads(text) for name, text in fields.items()})
        except (KeyError, ValueError) as error:
            aside = self.path.with_suffix(".damaged")
            with contextlib.suppress(FileNotFoundError):  # another of the stage's processes was faster
                self.path.replace(aside)
            log.warning("%s is damaged (%s): the stage starts afresh; it lies in %s", self.path, error, aside)
            return None

    def save(self, checkpoint: Checkpoint) -> bool:
        """Replace the checkpoint, atomically; return False, with a warning, if an earlier one stays."""
        fields = {name: json.dumps(getattr(checkpoint, name)) for name in FIELDS}
        snapshot = checkpoint.snapshot
        header = {**fields, "identity": self.identity, "sha256": _digest(snapshot, fields)}
        try:
            save_snapshot(self.path, snapshot, header)
        except OSError as error:
            log.warning("the state at step %d is not saved (%s)", checkpoint.step, error)
            return False
        return True


def _digest(snapshot: Snapshot, fields: Mapping[str, str]) -> str:
    """Digest what a checkpoint holds; read from a file, it is the same if no byte has changed."""
    best = snapshot.best
    numbers = [snapshot.optimiser_steps, snapshot.adam_steps, *((best.psnr, best.step) if best else ())]
    digest = hashlib.sha256(json.dumps([dict(fields), numbers], sort_keys=True).encode())
    moments = [values for _, values in sorted(snapshot.moments.items())]
    parts = [snapshot.weights, *moments, snapshot.average, best.weights if best else {}]
    for part in parts:
        for name, value in sorted(part.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(_bytes(value))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().contiguous().reshape(-1).view(uint8).numpy().data


@contextmanager
def open_checkpoints(snapshot: str | os.PathLike[str], identity: str) -> Iterator[CheckpointFolder]:
    """Lock the folder of the stage that writes ``snapshot``; wait while another process works on it."""
    folder = state_folder(Path(snapshot))
    with exclusive(folder / "lock"):
        checkpoints = CheckpointFolder(folder, identity)
        remove_leftovers([checkpoints.path])
        yield checkpoints
