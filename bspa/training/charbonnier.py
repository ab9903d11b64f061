"""The Charbonnier loss (LapSRN; Lai et al., CVPR 2017): L1, smooth near zero."""

from __future__ import annotations

import torch
from torch import Tensor

from bspa.training.snapshot import Snapshot
from bspa.training.stage import Stage
from bspa.training.task import Task, pixel_objective, pixel_task

EPSILON = 1e-3
"""Of LapSRN, for images in [0, 1]."""


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean of sqrt(error^2 + epsilon^2) of (n, 3, h, w) images in [0, 1], in float32."""
    return torch.sqrt((output.float() - target).square() + EPSILON**2).mean()


charbonnier_objective = pixel_objective(charbonnier)
"""The Charbonnier loss of a batch; see `bspa.training.task.Objective`."""


def prepare_charbonnier(stage: Stage, initial: Snapshot | None, _device: torch.device) -> Task:
    """Train the network alone on it; see `bspa.training.task.pixel_task`."""
    return pixel_task(charbonnier_objective, stage, initial)
