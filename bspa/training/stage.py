"""What a training job computes: a stage (Section 4.1), or the attribution between two stages (Section 3.3).

The plan makes these values, a rule's params hold them as plain dicts (`dataclasses.asdict`), and the rule's
script rebuilds them (``Stage(**settings)``). Standard library only: the plan is made without torch and numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

PHASES = {
    "uniform": ("uniform", "l1"),
    "inverse": ("inverse", "l1"),
    "informative": ("informative", "l1"),
    "uncertainty": ("uniform", "uncertainty"),
    "weighted": ("uniform", "weighted"),
}
"""Phase -> sampling and objective; ``informative`` is of SamplingAug, the last two are of UDN.

``l1`` may be another loss of output and HR.
"""

OBJECTIVE_MODULES = {
    "l1": "bspa.training.losses",
    "charbonnier": "bspa.training.charbonnier",
    "mse": "bspa.training.mse",
    "l1_frequency": "bspa.training.l1_frequency",
    "uncertainty": "bspa.training.uncertainty",
    "weighted": "bspa.training.uncertainty",
}
"""Objective -> the module that computes it, for the digest of a stage's code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What stages and attributions share: the network, its loss, and the batches."""

    arch: str
    scale: int
    options: Mapping[str, int | float | str]
    """Arguments of the architecture."""
    seed: int
    """Of the initial weights and of the samples."""
    objective: str
    """What a stage minimises, and what an importance is about: a key of `OBJECTIVE_MODULES`.

    An importance is about a loss of output and HR: one of `bspa.training.registry.LOSSES`.
    """
    patch: int
    """Side of an HR patch in pixels."""
    batch: int
    """Patches in a batch (16 in Section 4.1)."""
    repeat: int | None
    """Passes over the training images in an epoch; None with `epoch_steps`."""
    epoch_steps: int | None
    """Steps of an epoch, whatever the number of training images; None: as `repeat` says."""
    image_order: str
    """How uniform and informative samples choose images: ``independent`` draws, or ``shuffled`` passes."""
    total_epochs: int
    """T of the run (400 in Section 4.1). A run that is made longer keeps the learning rate of epoch T."""

    def steps_per_epoch(self, images: int) -> int:
        """Return the batches of an epoch over ``images`` training images."""
        if self.epoch_steps is not None:
            return self.epoch_steps
        assert self.repeat is not None
        return math.ceil(images * self.repeat / self.batch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage(Job):
    """A training stage: the samples, the optimiser, and the epochs."""

    phase: str
    """A key of `PHASES`; names the stage's files."""
    sampling: str
    """What a batch holds: the name of a module in `bspa.sampling`."""
    learning_rate: float
    """Before any decay (2e-4 in Section 4.1)."""
    decay: str
    """How the learning rate falls: ``step``, ``multistep`` or ``cosine``."""
    halve_every: int | None
    """Of ``step``: epochs between two halvings (200 in Section 4.1)."""
    milestones: Sequence[int]
    """Of ``multistep``: epochs after which the rate is multiplied by `gamma`."""
    gamma: float | None
    final_rate: float | None
    """Of ``cosine``: the learning rate at epoch T."""
    warm_up: int
    """Epochs over which the learning rate rises linearly from zero."""
    betas: Sequence[float]
    epsilon: float
    """Adam's, as `betas`."""
    weight_decay: float
    """AdamW's, decoupled from the gradients; 0: Adam."""
    ema: float | None
    """Decay of the moving average of the weights in a step; None: no average."""
    precision: str
    """Arithmetic of the convolutions: auto, float32 or bfloat16."""
    first_epoch: int
    """Epochs that the run has counted before this stage; the learning rate follows this count."""
    epochs: int
    """Length of this stage, without `extra_steps`."""
    extra_steps: int
    """Steps after these epochs."""
    counts: bool
    """Whether the run counts these epochs; if not, they all belong to the last epoch that it counted."""
    stretch_schedule: bool
    """Whether the learning rates of T epochs are stretched over this stage, whatever its length."""
    fresh_optimiser: bool
    """Whether Adam's moments and step count start from zero, as for a new run."""
    frozen_moments: str
    """Adam's moments of frozen weights: ``fade`` (gradients are zeroed) or ``keep`` (they go on)."""
    validate_every: int | None
    """Epochs between two points of the validation curve; None: no validation."""
    validate_images: int | None
    """How many images, the first ones, are validated on; None: all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The steps of a stage, numbered from 0, over a number of training images."""

    stage: Stage
    images: int
    """Training images, whatever the sampling."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch (50 in Section 4.1)."""
        return self.stage.steps_per_epoch(self.images)

    @property
    def steps(self) -> int:
        """Optimiser steps of the stage."""
        return self.stage.epochs * self.steps_per_epoch + self.stage.extra_steps

    def epoch(self, step: int) -> int:
        """Return the run's epoch, from 0, in which ``step`` lies."""
        if self.stage.stretch_schedule:
            return step * self.stage.total_epochs // self.steps
        return self.stage.first_epoch + (step // self.steps_per_epoch if self.stage.counts else -1)

    def ends_row(self, step: int) -> bool:
        """Tell whether a row of the journal ends after ``step`` steps: at epochs, and at the stage's end."""
        beyond = step - self.steps
        return (step if beyond < 0 else beyond) % self.steps_per_epoch == 0

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of ``step``."""
        rate, warm_up = self._decayed_rate(step), self.stage.warm_up
        return rate * min(1.0, self._epochs_before(step + 1) / warm_up) if warm_up else rate

    def _decayed_rate(self, step: int) -> float:
        stage = self.stage
        epoch = min(self.epoch(step), stage.total_epochs - 1)
        if stage.decay == "cosine":
            assert stage.final_rate is not None
            share = (self._epochs_before(step) - stage.warm_up) / (stage.total_epochs - stage.warm_up)
            height = (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2
            return stage.final_rate + (stage.learning_rate - stage.final_rate) * height
        if stage.decay == "multistep":
            assert stage.gamma is not None
            return stage.learning_rate * stage.gamma ** sum(epoch >= after for after in stage.milestones)
        assert stage.halve_every is not None
        return stage.learning_rate * 0.5 ** (epoch // stage.halve_every)

    def _epochs_before(self, step: int) -> float:
        """Return the epochs that the run has counted before ``step``, with their parts."""
        if self.stage.stretch_schedule:
            return step * self.stage.total_epochs / self.steps
        return self.stage.first_epoch + (step / self.steps_per_epoch if self.stage.counts else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution(Job):
    """The attribution after a cycle: the importance of the weights, and the mask of those to freeze."""

    criterion: str
    """What makes a weight important; see `bspa.training.importance`."""
    unit: Literal["weight", "filter"]
    """What is ranked: single weights (``weight``, WIG) or 2-D kernels (``filter``, FIG)."""
    beta: float
    steps: int
    """M, points on the path (Eq. 10)."""
    riemann: Literal["left", "right"]
    """Whether the points include the start of the path and not its end, or its end and not its start."""
    batches: int | Literal["epoch"]
    """Batches that the loss is taken on; ``epoch``: as many as an epoch has."""
    aggregate: Literal["mean_loss", "each_batch"]
    """Importance is the size for the batches' mean loss, or the sum of the sizes for each batch's loss."""
    freeze: Literal["most", "least"]
    """Which end of the ranking is frozen."""
    update: str
    """``replace``: a new mask; ``cumulative``: what is frozen stays frozen."""
    cycle: int
    """Number of the cycle, from 1; each cycle draws other batches."""
    epoch: int
    """e, the epochs that the run has counted at the end of the cycle."""

    def batch_count(self, images: int) -> int:
        """Return the number of batches for ``images`` training images."""
        return self.steps_per_epoch(images) if self.batches == "epoch" else self.batches

    def gradient_count(self, images: int) -> int:
        """Return the number of gradients of a batch that it computes, for ``images`` training images."""
        points = {"ig": self.steps, "taylor": 1, "fisher": 1, "snip": 1}.get(self.criterion, 0)
        return points * self.batch_count(images)

    @property
    def fraction(self) -> float:
        """Share of the units to freeze, in [0, 1] (Eq. 11)."""
        return self.beta * self.epoch / self.total_epochs
