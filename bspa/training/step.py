"""An optimiser step on the loaded batch (Sections 3.3 and 4.1)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bspa.models.precision import Precision
from bspa.sampling.feeds import Feed
from bspa.system.cuda_graphs import capture
from bspa.training.adam import Adam
from bspa.training.masks import FrozenWeights
from bspa.training.task import Objective

log = logging.getLogger("bspa")

Step = Callable[[], Tensor]
"""Takes a step on the loaded batch; returns the loss before the update, on the device."""


class NonFiniteLossError(ArithmeticError):
    """The loss of a step is not finite; the weights are those before the step."""

    def __init__(self, loss: float):
        super().__init__(f"the loss is {loss}")


class MovingAverage:
    """Exponential moving average of a model's trainable weights: a = decay * a + (1 - decay) * weight."""

    def __init__(self, model: nn.Module, decay: float, start: Mapping[str, Tensor]):
        """Continue from ``start`` (by parameter name), or from the weights themselves if it is empty."""
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if start and start.keys() != trainable.keys():
            raise ValueError("the averaged weights are of another network")
        self.values = {name: parameter.detach().clone() for name, parameter in trainable.items()}
        for name, value in start.items():
            self.values[name].copy_(value)
        self._pairs = list(self.values.values()), [p.detach() for p in trainable.values()]
        self._update = get_ema_multi_avg_fn(decay)

    def update(self) -> None:
        """Take in the current weights."""
        self._update(*self._pairs, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingStep:
    """A step, operation by operation."""

    model: nn.Module
    objective: Objective
    feed: Feed
    """Holds the batch."""
    precision: Precision
    adam: Adam
    frozen: FrozenWeights
    average: MovingAverage | None
    """Takes in the new weights; None: no average is kept."""
    check_loss: bool
    """Whether to read the loss before the update, which makes the host wait for the device."""

    def __call__(self) -> Tensor:
        """Compute the loss and its gradients, then update the weights; return the loss."""
        loss = self.compute_gradients()
        if self.check_loss and not math.isfinite(value := float(loss)):
            raise NonFiniteLossError(value)
        self.frozen.zero_gradients()
        self.adam.step()
        self.frozen.restore_values()
        if self.average:
            self.average.update()
        return loss

    def compute_gradients(self) -> Tensor:
        """Compute the loss and its gradients; return the loss."""
        lr, hr = self.feed.batch()
        loss = self.objective(self.model, lr, hr, self.precision)
        self.adam.zero_grad()
        loss.backward()
        return loss.detach()


def record_step(step: TrainingStep, device: torch.device) -> Step:
    """Record ``step``, whose first batch is loaded, as one launch; return ``step`` if CUDA refuses."""
    try:
        replay = capture(step, warm_up=step.compute_gradients, device=device)
    except RuntimeError as error:
        log.warning(
            "CUDA cannot record the training step (%s): it runs operation by operation, slower", error
        )
        return step
    return lambda: replay().clone()
