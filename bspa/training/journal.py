"""A stage's journal: one row an epoch, written as CSV."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from bspa.system.files import write_text
from bspa.training.checkpoint import Checkpoint, Row
from bspa.training.stage import Schedule


def write_journal(rows: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Write the rows of a `Journal` as a CSV file, atomically."""
    lines: list[Iterable[object]] = [rows[0].keys(), *(row.values() for row in rows)]
    cells = ([str("" if value is None else value) for value in line] for line in lines)
    write_text(path, "".join(",".join(line) + "\n" for line in cells))


class Journal:
    """The rows of a stage: step and epoch (from 1) at its end, mean loss, learning rate, speed, time.

    ``device_seconds`` is the time in the training loop, without start-up, loading of files, validation, and
    saving, by ``clock`` (see `bspa.system.devices.device_clock`). ``psnr`` and ``psnr_average`` are those of
    the weights and of their average on the validation images, in dB on Y, in rows that end at a validation.
    A stage that was stopped continues the journal of its checkpoint.
    """

    def __init__(self, schedule: Schedule, clock: Callable[[], float], checkpoint: Checkpoint | None):
        self._clock = clock
        self.rows: list[Row] = checkpoint.rows if checkpoint else []
        self.losses = checkpoint.losses if checkpoint else []
        self.device_seconds = checkpoint.device_seconds if checkpoint else 0.0
        self._schedule = schedule
        self._samples, self._row_seconds = 0, 0.0

    def start_clock(self) -> None:
        """Count time from now on."""
        self._counted = self._clock()

    def count_time(self) -> None:
        """Add the time since it was last counted."""
        now = self._clock()
        self.device_seconds += now - self._counted
        self._row_seconds += now - self._counted
        self._counted = now

    def add(self, losses: Sequence[float], *, batch: int) -> None:
        """Note the losses of some steps of ``batch`` samples each."""
        self.losses += losses
        self._samples += batch * len(losses)

    def close_row(self, step: int, validation: Mapping[str, float]) -> None:
        """End a row after ``step`` steps of the stage, with the values of its validation, if any."""
        self.rows.append(
            {
                "step": step,
                "epoch": self._schedule.epoch(step - 1) + 1,
                "loss": float(np.mean(self.losses)),
                "learning_rate": self._schedule.learning_rate_at(step - 1),
                "samples_per_second": round(self._samples / max(self._row_seconds, 1e-9), 2),
                "device_seconds": round(self.device_seconds, 3),
                "psnr": validation.get("psnr"),
                "psnr_average": validation.get("psnr_average"),
            }
        )
        self.losses, self._samples, self._row_seconds = [], 0, 0.0
