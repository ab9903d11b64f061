"""A stage's journal: one row an epoch, written as CSV."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bspa.system.files import write_text
from bspa.training.checkpoint import Checkpoint
from bspa.training.stage import Schedule


def write_journal(rows: Sequence[Mapping[str, float]], path: str | os.PathLike[str]) -> None:
    """Write the rows of a `Journal` as a CSV file, atomically."""
    lines: list[Iterable[object]] = [rows[0].keys(), *(row.values() for row in rows)]
    write_text(path, "".join(",".join(map(str, line)) + "\n" for line in lines))


class Journal:
    """The rows of a stage: step and epoch (from 1) at its end, mean loss, learning rate, speed, time.

    ``device_seconds`` is the time in the training loop, without start-up, loading of files, and saving.
    A stage that was stopped continues the journal of its checkpoint.
    """

    def __init__(self, schedule: Schedule, checkpoint: Checkpoint | None):
        self.rows = checkpoint.rows if checkpoint else []
        self.losses = checkpoint.losses if checkpoint else []
        self.device_seconds = checkpoint.device_seconds if checkpoint else 0.0
        self._schedule = schedule
        self._samples, self._row_seconds = 0, 0.0

    def start_clock(self) -> None:
        """Count time from now on."""
        self._counted = time.monotonic()

    def count_time(self) -> None:
        """Add the time since it was last counted."""
        now = time.monotonic()
        self.device_seconds += now - self._counted
        self._row_seconds += now - self._counted
        self._counted = now

    def add(self, losses: Sequence[float], *, batch: int) -> None:
        """Note the losses of some steps of ``batch`` samples each."""
        self.losses += losses
        self._samples += batch * len(losses)

    def close_row(self, step: int) -> None:
        """End an epoch after ``step`` steps of the stage."""
        self.count_time()
        self.rows.append(
            {
                "step": step,
                "epoch": self._schedule.epoch(step - 1) + 1,
                "loss": float(np.mean(self.losses)),
                "learning_rate": self._schedule.learning_rate_at(step - 1),
                "samples_per_second": round(self._samples / max(self._row_seconds, 1e-9), 2),
                "device_seconds": round(self.device_seconds, 3),
            }
        )
        self.losses, self._samples, self._row_seconds = [], 0, 0.0
