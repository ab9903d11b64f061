"""A stage's log: rows for its CSV file, lines for people."""

from __future__ import annotations

import csv
import logging
import os
import time
from collections.abc import Mapping, Sequence

import numpy as np

from bspa.system.files import atomic_path
from bspa.training.checkpoint import Progress
from bspa.training.old_stage import Stage

log = logging.getLogger("bspa")

PROGRESS_SECONDS = 10.0
COLUMNS = ("step", "epoch", "loss", "learning_rate", "samples_per_second", "device_seconds")


def write_journal(rows: Sequence[Mapping[str, float]], path: str | os.PathLike[str]) -> None:
    """Write the rows of a `Journal` as a CSV file, atomically."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class Journal:
    """The stage's log: one row an epoch for the CSV file, a line every few seconds for people.

    ``device_seconds`` counts the time in the training loop only, without loading, saving and start-up.
    """

    def __init__(self, stage: Stage, done: Progress | None):
        self.rows = list(done.rows) if done else []
        self.losses = list(done.losses) if done else []
        self.device_seconds = done.device_seconds if done else 0.0
        self._stage = stage
        self._samples = 0
        self._row_seconds = 0.0
        self._started: float | None = None
        self._reported = (time.monotonic(), 0)

    def start(self, step: int) -> None:
        """Let the clock run."""
        self._started = time.monotonic()
        self._reported = (self._started, step)

    def pause(self) -> None:
        """Stop the clock."""
        self._tick()
        self._started = None

    def add(self, losses: list[float], *, batch: int) -> None:
        """Note the losses of some steps."""
        self.losses += losses
        self._samples += batch * len(losses)

    def close_row(self, step: int) -> None:
        """End an epoch: its mean loss becomes a row."""
        self._tick()
        self.rows.append(
            {
                "step": step,
                "epoch": self._stage.epoch(step - 1) + 1,
                "loss": float(np.mean(self.losses)),
                "learning_rate": self._stage.learning_rate_at(step - 1),
                "samples_per_second": round(self._samples / max(self._row_seconds, 1e-9), 2),
                "device_seconds": round(self.device_seconds, 3),
            }
        )
        self.losses, self._samples, self._row_seconds = [], 0, 0.0

    def report(self, step: int) -> None:
        """Print rate and time left, if it is time."""
        since, first = self._reported
        now = time.monotonic()
        if now - since < PROGRESS_SECONDS or not self.rows:
            return
        rate = (step - first) / (now - since)
        left = (self._stage.steps - step) / rate
        log.info(
            "%s: step %d/%d, loss %.4f, %.1f steps/s, %d:%02d min left",
            self._stage.name, step, self._stage.steps, self.rows[-1]["loss"], rate, left // 60, left % 60,
        )  # fmt: skip
        self._reported = (now, step)

    def _tick(self) -> None:
        now = time.monotonic()
        if self._started is not None:
            self.device_seconds += now - self._started
            self._row_seconds += now - self._started
            self._started = now
