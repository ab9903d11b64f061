"""An optimiser step on the loaded batch (Sections 3.3 and 4.1)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bspa.sampling.feeds import Feed
from bspa.system.cuda_graphs import capture
from bspa.system.devices import Precision
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
    """Exponential moving average of a model's trainable weights: a = decay * a + (1 - decay) * weight.

    Args:
        model: its weights are averaged.
        decay: in (0, 1).
        start: the average so far, by parameter name; if empty, the weights themselves.

    Raises:
        ValueError: ``start`` is of another network.
    """

    def __init__(self, model: nn.Module, decay: float, start: Mapping[str, Tensor]):
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


class TrainingStep:
    """A step, operation by operation.

    Args:
        model: computes the output; its parameters are those of ``adam``.
        objective: what is minimised.
        feed: holds the batch.
        precision: arithmetic of the convolutions.
        adam: updates the weights.
        frozen: the weights that do not change.
        average: takes in the new weights; None if no average is kept.
        check_loss: whether to read the loss before the update, which makes the host wait for the device.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        objective: Objective,
        feed: Feed,
        precision: Precision,
        adam: Adam,
        frozen: FrozenWeights,
        average: MovingAverage | None,
        check_loss: bool,
    ):
        self._model, self._objective, self._feed, self._precision = model, objective, feed, precision
        self._adam, self._frozen, self._average = adam, frozen, average
        self._check_loss = check_loss

    def __call__(self) -> Tensor:
        """Compute the loss and its gradients, then update the weights; return the loss.

        Raises:
            NonFiniteLossError: with ``check_loss``, the loss is not finite; the weights are not updated.
        """
        loss = self.compute_gradients()
        if self._check_loss and not math.isfinite(value := float(loss)):
            raise NonFiniteLossError(value)
        self._frozen.zero_gradients()
        self._adam.step()
        self._frozen.restore_values()
        if self._average:
            self._average.update()
        return loss

    def compute_gradients(self) -> Tensor:
        """Compute the loss and its gradients; return the loss."""
        lr, hr = self._feed.batch()
        loss = self._objective(self._model, lr, hr, self._precision)
        self._adam.zero_grad()
        loss.backward()
        return loss.detach()


def record_step(step: TrainingStep, device: torch.device) -> Step:
    """Record ``step`` on a GPU as one launch; if CUDA refuses, log it and return ``step``.

    Args:
        step: without ``check_loss``; its first batch is loaded.
        device: the GPU.
    """
    try:
        replay = capture(step, warm_up=step.compute_gradients, device=device)
    except RuntimeError as error:
        log.warning(
            "CUDA cannot record the training step (%s): it runs operation by operation, slower", error
        )
        return step
    return lambda: replay().clone()
