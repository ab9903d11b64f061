"""What a training job computes: a stage (Section 4.1), or the attribution between two stages (Section 3.3).

The plan makes these values, a rule's params hold them as plain dicts (`dataclasses.asdict`), and the rule's
script rebuilds them (``Stage(**settings)``). Standard library only: the plan is made without torch and numpy.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

PHASES = {
    "uniform": ("uniform", "l1"),
    "inverse": ("inverse", "l1"),
    "informative": ("informative", "l1"),
    "uncertainty": ("uniform", "uncertainty"),
    "weighted": ("uniform", "weighted"),
}
"""Phase -> sampling and objective; ``informative`` is of SamplingAug, the last two are of UDN."""

SAMPLINGS = ("uniform", "inverse", "informative")

OBJECTIVE_MODULES = {
    "l1": "bspa.training.losses",
    "uncertainty": "bspa.training.uncertainty",
    "weighted": "bspa.training.uncertainty",
}
"""Objective -> the module that computes it, for the digest of a stage's code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A training stage: the network, the batches, the optimiser, and the epochs.

    Raises:
        ValueError: a value is not allowed.
    """

    phase: str
    """A key of `PHASES`; names the stage's files."""
    sampling: str
    """What a batch holds: one of `SAMPLINGS`."""
    objective: str
    """What is minimised: a key of `OBJECTIVE_MODULES`."""
    arch: str
    """Architecture, see `bspa.models.registry`."""
    scale: int
    options: Mapping[str, int | float]
    """Arguments of the architecture."""
    seed: int
    """Of the initial weights and of the samples."""
    patch: int
    """Side of an HR patch in pixels."""
    batch: int
    """Patches in a step (16 in Section 4.1)."""
    repeat: int
    """Passes over the training images in an epoch."""
    learning_rate: float
    """Adam's, at epoch 0 (2e-4 in Section 4.1)."""
    halve_every: int
    """Epochs between two halvings of the learning rate (200 in Section 4.1)."""
    betas: tuple[float, float]
    """Adam's."""
    epsilon: float
    """Adam's."""
    ema: float | None
    """Decay of the moving average of the weights in a step; None: no average."""
    precision: str
    """Arithmetic of the convolutions: auto, float32 or bfloat16."""
    first_epoch: int
    """Epochs that the run has counted before this stage; the learning rate follows this count."""
    epochs: int
    """Length of this stage in epochs."""
    counts: bool
    """Whether the run counts these epochs; if not, they all belong to the last epoch that it counted."""
    total_epochs: int
    """T of the run (400 in Section 4.1). A run that is made longer keeps the learning rate of epoch T."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        _check_choices(self, phase=PHASES, sampling=SAMPLINGS, objective=OBJECTIVE_MODULES)
        _check_choices(self, precision=("auto", "float32", "bfloat16"))
        _check_numbers(self, 0, "seed", "first_epoch")
        _check_numbers(self, 1, "scale", "patch", "batch", "repeat", "halve_every", "epochs", "total_epochs")
        for key in ("learning_rate", "epsilon"):
            if not 0 < getattr(self, key) < math.inf:
                raise ValueError(f"{key}: {getattr(self, key)}; allowed are numbers above 0")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: {list(self.betas)}; allowed are two numbers from 0 to below 1")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema: {self.ema}; allowed are null and numbers between 0 and 1")
        if not self.counts and self.first_epoch == 0:
            raise ValueError(
                "first_epoch: 0; a stage whose epochs do not count needs a counted epoch before it"
            )

    def steps_per_epoch(self, images: int) -> int:
        """Return the optimiser steps of an epoch over ``images`` training images (50 in Section 4.1)."""
        return math.ceil(images * self.repeat / self.batch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The steps of a stage, numbered from 0, over a number of training images."""

    stage: Stage
    images: int
    """Training images, whatever the sampling."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return self.stage.steps_per_epoch(self.images)

    @property
    def steps(self) -> int:
        """Optimiser steps of the stage."""
        return self.stage.epochs * self.steps_per_epoch

    def epoch(self, step: int) -> int:
        """Return the run's epoch, from 0, in which ``step`` lies."""
        return self.stage.first_epoch + (step // self.steps_per_epoch if self.stage.counts else -1)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of ``step``."""
        epoch = min(self.epoch(step), self.stage.total_epochs - 1)
        return self.stage.learning_rate * 0.5 ** (epoch // self.stage.halve_every)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """The attribution after a cycle: integrated gradients, and the mask of the weights to freeze.

    Raises:
        ValueError: a value is not allowed.
    """

    arch: str
    """Architecture, see `bspa.models.registry`."""
    scale: int
    options: Mapping[str, int | float]
    """Arguments of the architecture."""
    seed: int
    """Of the samples."""
    objective: str
    """What the importance is about; ``l1`` only."""
    patch: int
    """Side of an HR patch in pixels."""
    batch: int
    """Patches in a batch."""
    unit: str
    """What is ranked: single weights (``weight``, WIG) or 2-D kernels (``filter``, FIG)."""
    beta: float
    """The frozen share is ``beta * epoch / total_epochs`` (Eq. 11)."""
    steps: int
    """M, points on the path (Eq. 10)."""
    batches: int
    """Batches over which the loss is averaged."""
    update: str
    """``replace``: a new mask; ``cumulative``: what is frozen stays frozen."""
    cycle: int
    """Number of the cycle, from 1; each cycle draws other batches."""
    epoch: int
    """e, the epochs that the run has counted at the end of the cycle."""
    total_epochs: int
    """T of the run."""

    def __post_init__(self) -> None:
        _check_choices(self, objective=("l1",), unit=("weight", "filter"))
        _check_choices(self, update=("replace", "cumulative"))
        _check_numbers(self, 0, "seed", "epoch")
        _check_numbers(self, 1, "scale", "patch", "batch", "steps", "batches", "cycle", "total_epochs")
        if not 0 <= self.beta <= 1:
            raise ValueError(f"beta: {self.beta}; allowed are numbers from 0 to 1")
        if self.epoch > self.total_epochs:
            raise ValueError(f"epoch: {self.epoch}; allowed are 0 to total_epochs, {self.total_epochs}")

    @property
    def fraction(self) -> float:
        """Share of the units to freeze, in [0, 1] (Eq. 11)."""
        return self.beta * self.epoch / self.total_epochs


def _check_choices(settings: Stage | Attribution, **allowed: Collection[str]) -> None:
    for key, choices in allowed.items():
        if getattr(settings, key) not in choices:
            raise ValueError(f"{key}: {getattr(settings, key)!r}; allowed are {', '.join(choices)}")


def _check_numbers(settings: Stage | Attribution, least: int, *keys: str) -> None:
    for key in keys:
        value = getattr(settings, key)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{key}: {value!r}; allowed are whole numbers from {least}")
