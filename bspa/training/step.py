"""An optimiser step on the loaded batch (Sections 3.3 and 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bspa.models.precision import Precision
from bspa.sampling.feeds import Feed
from bspa.training.adam import Adam
from bspa.training.masks import FrozenWeights
from bspa.training.ranks import ALONE, Ranks
from bspa.training.task import Objective


class MovingAverage:
    """Exponential moving average of a model's trainable weights: a = decay * a + (1 - decay) * weight."""

    def __init__(self, model: nn.Module, decay: float, start: Mapping[str, Tensor]):
        """Continue from ``start`` (by parameter name), or from the weights themselves if it is empty."""
        weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        start = start or weights
        self.values = {name: torch.empty_like(w).copy_(start[name]) for name, w in weights.items()}
        self._pairs = [*self.values.values()], [*weights.values()]
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
    ranks: Ranks = ALONE
    """The processes that share the batch."""

    def __call__(self) -> Tensor:
        """Compute the loss and its gradients, then update the weights; return the loss, on the device."""
        loss = self.compute_gradients()
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
        return self.ranks.average(loss.detach(), self.model.parameters())
