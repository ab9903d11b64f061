"""The mean squared error, the loss of SRCNN and FSRCNN (Dong et al., ECCV 2014 and 2016)."""

from __future__ import annotations

import torch
from torch import Tensor

from bspa.training.snapshot import Snapshot
from bspa.training.stage import Stage
from bspa.training.task import Task, pixel_objective, pixel_task


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of (n, 3, h, w) images in [0, 1], in float32."""
    return torch.nn.functional.mse_loss(output.float(), target)


mse_objective = pixel_objective(mse)
"""The mean squared error of a batch; see `bspa.training.task.Objective`."""


def prepare_mse(stage: Stage, initial: Snapshot | None, _device: torch.device) -> Task:
    """Train the network alone on it; see `bspa.training.task.pixel_task`."""
    return pixel_task(mse_objective, stage, initial)
