"""The L1 loss, and the task of a stage that trains a network on it (Section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from bspa.training.snapshot import Snapshot
from bspa.training.stage import Stage
from bspa.training.task import Task, pixel_objective, pixel_task


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute error of (n, 3, h, w) images in [0, 1], in float32."""
    return torch.nn.functional.l1_loss(output.float(), target)


l1_objective = pixel_objective(l1)
"""The L1 loss of a batch; see `bspa.training.task.Objective`."""


def prepare_l1(stage: Stage, initial: Snapshot | None, _device: torch.device) -> Task:
    """Train the network alone on it; see `bspa.training.task.pixel_task`."""
    return pixel_task(l1_objective, stage, initial)
