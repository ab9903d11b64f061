"""What a stage trains and what it minimises. Shape legend: n samples, h and w LR pixels, s scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bspa.models.layers import Network
from bspa.models.precision import Precision
from bspa.models.registry import build
from bspa.training.snapshot import Best, Snapshot
from bspa.training.stage import Stage

Objective = Callable[[nn.Module, Tensor, Tensor, Precision], Tensor]
"""What a stage minimises: (model, LR (n, 3, h, w), HR (n, 3, s h, s w), precision) -> loss of a batch.

Images are float32 in [0, 1]. Networks run under ``precision.autocast()``; the rest is in float32.
"""

Validate = Callable[[nn.Module, Mapping[str, Tensor], int, Best | None], tuple[dict[str, float], Best | None]]
"""(network, average of its weights, steps of the run, best so far) -> (the journal's values, best so far)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A stage's network, objective and initial state."""

    model: nn.Module
    """With the initial weights of its seed."""
    objective: Objective
    initial: Snapshot | None
    """What the stage starts from; None at the start of a run."""
    delivered: str = ""
    """Name of the model's part that is the network to deliver; empty: the whole model."""


PixelLoss = Callable[[Tensor, Tensor], Tensor]
"""(SR, HR), both (n, 3, s h, s w), HR in float32 -> loss; it depends on nothing else."""

PrepareTask = Callable[[Stage, Snapshot | None, torch.device], Task]
"""(stage, last snapshot of the run or None, device of helper networks) -> task."""


def build_seeded(arch: str, scale: int, options: Mapping[str, int | float | str], seed: int) -> Network:
    """Build a network with the initial weights of ``seed``; torch's own random state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch, scale, **options)


def pixel_objective(loss: PixelLoss) -> Objective:
    """Return the objective that measures ``loss`` between the output of a batch and HR."""

    def objective(model: nn.Module, lr: Tensor, hr: Tensor, precision: Precision) -> Tensor:
        with precision.autocast():
            output = model(lr)
        return loss(output, hr)

    return objective


def pixel_task(objective: Objective, stage: Stage, initial: Snapshot | None) -> Task:
    """Train the network alone, from ``initial`` or from the seed's weights."""
    model = build_seeded(stage.arch, stage.scale, stage.options, stage.seed)
    return Task(model=model, objective=objective, initial=initial)
