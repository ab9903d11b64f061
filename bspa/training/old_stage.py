"""What a training stage does, counted in epochs and steps (Section 4.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What a stage does, counted in epochs of the run it belongs to."""

    name: str
    """For messages."""
    first_epoch: int
    """Epochs that the run has counted before this stage; the learning rate follows this count."""
    epochs: int
    """Length of this stage."""
    counts: bool
    """Whether the stage's own epochs count; if not, they all pass within the last epoch that did."""
    total_epochs: int
    """T; a run that is made longer, to match another's steps, keeps the learning rate of its last epoch."""
    steps_per_epoch: int
    learning_rate: float
    halve_every: int
    """Epochs after which the learning rate is halved, again and again."""
    betas: tuple[float, float]
    epsilon: float
    ema: float | None = None
    """Decay of the moving average of the weights; None: none is kept."""

    @property
    def steps(self) -> int:
        """Optimiser steps of this stage."""
        return self.epochs * self.steps_per_epoch

    def epoch(self, step: int) -> int:
        """Number of the run's epoch that ``step`` of this stage is in, from 0."""
        return self.first_epoch + (step // self.steps_per_epoch if self.counts else -1)

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of ``step`` of this stage."""
        return self.learning_rate * 0.5 ** (min(self.epoch(step), self.total_epochs - 1) // self.halve_every)


def steps_per_epoch(images: int, repeat: int, batch: int) -> int:
    """Iterations of one epoch: 50 for DIV2K's 800 images, repeat 1, batch 16 (DESIGN: 20,000 in 400 epochs).

    >>> steps_per_epoch(800, 1, 16)
    50
    """
    return math.ceil(images * repeat / batch)
