"""The L1 loss, and the task of a stage that trains a network on it (Section 3.3)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bspa.models.precision import Precision
from bspa.training.snapshot import Snapshot
from bspa.training.stage import Stage
from bspa.training.task import Task, build_seeded


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute error of (n, 3, h, w) images in [0, 1], in float32."""
    return torch.nn.functional.l1_loss(output.float(), target)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1}
"""Objective -> loss of the super-resolved image and HR, for objectives that compare nothing else."""


def l1_objective(model: nn.Module, lr: Tensor, hr: Tensor, precision: Precision) -> Tensor:
    """Return the L1 loss of a batch; see `bspa.training.task.Objective`."""
    with precision.autocast():
        output = model(lr)
    return l1(output, hr)


def prepare_l1(stage: Stage, initial: Snapshot | None, _device: torch.device) -> Task:
    """Train the network alone, from ``initial`` or from the seed's weights."""
    model = build_seeded(stage.arch, stage.scale, stage.options, stage.seed)
    return Task(model=model, objective=l1_objective, initial=initial)
