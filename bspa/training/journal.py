"""A stage's journal: one row an epoch, written as CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bspa.system.files import atomic_path
from bspa.training.checkpoint import Checkpoint
from bspa.training.stage import Schedule

COLUMNS = (
    "step", "epoch", "loss", "learning_rate", "samples_per_second", "device_seconds", "psnr", "psnr_average",
)  # fmt: skip


def write_journal(rows: Sequence[Mapping[str, float]], path: str | os.PathLike[str]) -> None:
    """Write the rows of a `Journal` as a CSV file, atomically."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class Journal:
    """The rows of a stage: step and epoch (from 1) at its end, mean loss, learning rate, speed, time.

    ``device_seconds`` is the time in the training loop, without start-up, loading of files, validation, and
    saving: of a CPU the processor time of the process, else the time that passed. ``psnr`` and
    ``psnr_average`` are those of the weights and of their average on the validation images, in dB on Y, in
    the rows that end at a validation.

    Args:
        schedule: of the stage.
        clock: seconds; see `bspa.system.devices.device_clock`.
        checkpoint: where the stage continues; None at its start.
    """

    def __init__(self, schedule: Schedule, clock: Callable[[], float], checkpoint: Checkpoint | None):
        self._clock = clock
        self.rows = list(checkpoint.rows) if checkpoint else []
        self.losses = list(checkpoint.losses) if checkpoint else []
        self.device_seconds = checkpoint.device_seconds if checkpoint else 0.0
        self._schedule = schedule
        self._samples = 0
        self._row_seconds = 0.0
        self._started: float | None = None

    def start_clock(self) -> None:
        """Begin to count time."""
        self._started = self._clock()

    def stop_clock(self) -> None:
        """Stop counting time."""
        self._count_time()
        self._started = None

    def add(self, losses: Sequence[float], *, batch: int) -> None:
        """Note the losses of some steps of ``batch`` samples each."""
        self.losses += losses
        self._samples += batch * len(losses)

    def close_row(self, step: int, validation: Mapping[str, float] | None = None) -> None:
        """End an epoch after ``step`` steps of the stage, with the values of a validation if there was one."""
        self._count_time()
        self.rows.append(
            {
                "step": step,
                "epoch": self._schedule.epoch(step - 1) + 1,
                "loss": float(np.mean(self.losses)),
                "learning_rate": self._schedule.learning_rate_at(step - 1),
                "samples_per_second": round(self._samples / max(self._row_seconds, 1e-9), 2),
                "device_seconds": round(self.device_seconds, 3),
                **(validation or {}),
            }
        )
        self.losses, self._samples, self._row_seconds = [], 0, 0.0

    def _count_time(self) -> None:
        now = self._clock()
        if self._started is not None:
            self.device_seconds += now - self._started
            self._row_seconds += now - self._started
            self._started = now
