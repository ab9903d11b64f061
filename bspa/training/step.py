"""One step of the optimiser, with what is frozen and what is averaged (Section 3.3, Section 4.1)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bspa.sampling.feeds import Feed
from bspa.system.cuda_graphs import capture
from bspa.system.devices import Precision
from bspa.training.losses import Objective

log = logging.getLogger("bspa")


class FrozenWeights:
    """Keeps the masked weights of a model bit-identical through any number of optimiser steps.

    Zero gradients alone do not: Adam's momentum goes on moving a weight. So the gradients are zeroed, which
    lets the moments fade, and after each step the masked weights get their values back.
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]):
        parameters = dict(model.named_parameters())
        self._frozen: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        for name, mask in masks.items():
            if name not in parameters or mask.shape != parameters[name].shape:
                raise ValueError(f"the mask is of another network: {name} {tuple(mask.shape)} does not fit")
            if mask.any():
                parameter = parameters[name]
                mask = torch.empty_like(parameter, dtype=torch.bool).copy_(mask)
                self._frozen.append((parameter, mask, parameter.detach().clone()))

    def before_step(self) -> None:
        """Zero the gradients of the frozen weights."""
        for parameter, mask, _ in self._frozen:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(mask, 0.0)

    @torch.no_grad()
    def after_step(self) -> None:
        """Give the frozen weights their values back."""
        for parameter, mask, values in self._frozen:
            parameter.copy_(torch.where(mask, values, parameter))


class MovingAverage:
    """Exponential moving average of a model's trainable weights: a = decay * a + (1 - decay) * weight."""

    def __init__(self, model: nn.Module, decay: float, start: Mapping[str, Tensor]):
        """Go on from ``start``, the average by parameter name; from the weights themselves if it is empty."""
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if start and start.keys() != trainable.keys():
            raise ValueError("the averaged weights are of another network")
        self.values = {name: parameter.detach().clone() for name, parameter in trainable.items()}
        for name, value in start.items():
            self.values[name].copy_(value)
        self._pairs = list(self.values.values()), [p.detach() for p in trainable.values()]
        self._update = get_ema_multi_avg_fn(decay)

    def after_step(self) -> None:
        """Take in the weights as they are now."""
        self._update(*self._pairs, None)


class Step(Protocol):
    """A step in two parts, so that a loss can be looked at before it has an effect."""

    def gradients(self) -> Tensor:
        """Compute the loss on the batch that was loaded, and its gradients; return it, on the device."""
        ...

    def update(self) -> None:
        """Change the weights."""
        ...


class EagerStep:
    """Operation after operation.

    Args:
        model: what is called for the output; its parameters are those of ``optimiser``.
        objective: what is minimised.
        feed: gives the batch.
        precision: arithmetic of the convolutions.
        optimiser: changes the weights.
        hold: keeps the frozen ones.
        average: takes in the new ones.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        objective: Objective,
        feed: Feed,
        precision: Precision,
        optimiser: torch.optim.Optimizer,
        hold: FrozenWeights,
        average: MovingAverage | None,
    ):
        self._model, self._objective, self._feed, self._precision = model, objective, feed, precision
        self._optimiser, self._hold, self._average = optimiser, hold, average

    def gradients(self) -> Tensor:
        """See `Step`."""
        lr, hr = self._feed.batch()
        loss = self._objective(self._model, lr, hr, self._precision)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    def update(self) -> None:
        """See `Step`."""
        self._hold.before_step()
        self._optimiser.step()
        self._hold.after_step()
        if self._average:
            self._average.after_step()


class RecordedStep:
    """An `EagerStep` as one launch on a GPU; the weights change together with the gradients.

    The optimiser is ``capturable`` and has its moments, and the first batch is loaded.
    """

    def __init__(self, eager: EagerStep, device: torch.device):
        def whole() -> Tensor:
            loss = eager.gradients()
            eager.update()
            return loss

        self._replay = capture(whole, warm_up=eager.gradients, device=device)

    def gradients(self) -> Tensor:
        """Take the whole step; return the loss before it."""
        return self._replay().clone()

    def update(self) -> None:
        """Nothing is left to do."""


def record_step(eager: EagerStep, device: torch.device) -> Step:
    """Return ``eager`` as a `RecordedStep`; as it is where CUDA refuses that, which the log tells."""
    try:
        return RecordedStep(eager, device)
    except RuntimeError as error:
        log.warning("the step cannot be recorded (%s): it runs operation by operation, slower", error)
        return eager
