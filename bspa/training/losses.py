"""What training minimises. Shape legend: n samples, c colours, h and w pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from bspa.system.devices import Precision

Loss = Callable[[Tensor, Tensor], Tensor]


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of (n, c, h, w) images in [0, 1], in float32 (Section 3.3)."""
    return torch.nn.functional.l1_loss(output.float(), target)


LOSSES: dict[str, Loss] = {"l1": l1}


class Objective(Protocol):
    """What a stage minimises: a model and a batch -> a scalar, differentiable in the model's weights."""

    def __call__(self, model: nn.Module, lr: Tensor, hr: Tensor, precision: Precision) -> Tensor:
        """Return the loss of LR (n, 3, h, w) and HR (n, 3, s*h, s*w), float32 in [0, 1].

        The convolutions run under ``precision.autocast()``, the rest in float32.
        """
        ...


def image_objective(loss: Loss) -> Objective:
    """Return the objective of a network whose super-resolved image alone is compared with HR."""

    def objective(model: nn.Module, lr: Tensor, hr: Tensor, precision: Precision) -> Tensor:
        with precision.autocast():
            output = model(lr)
        return loss(output, hr)

    return objective
