"""Adam and AdamW as torch computes them, with their state by parameter name.

It calls the function behind `torch.optim.Adam` and `torch.optim.AdamW`. The classes themselves import torch's
compiler at their first step, 1.3 to 2.2 s in every stage, for the same weights to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

MOMENTS = ("exp_avg", "exp_avg_sq")


class Adam:
    """Adam over the trainable parameters of a model, as one fused kernel; make it after moving the model.

    With a ``weight_decay`` it is AdamW (Loshchilov and Hutter, ICLR 2019): before each step a parameter is
    multiplied by 1 - rate * weight_decay.
    """

    def __init__(
        self, model: nn.Module, *, betas: Sequence[float], epsilon: float, weight_decay: float = 0.0
    ):
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._parameters: list[Tensor] = [*named.values()]
        self._betas, self._epsilon, self._decay = betas, epsilon, weight_decay
        device = self._parameters[0].device
        self._steps = [torch.zeros((), device=device) for _ in named]
        # A recorded step reads the rate from a GPU's memory, where it can be changed.
        self._rate: float | Tensor = torch.zeros((), device=device) if device.type == "cuda" else 0.0
        self.moments = {moment: {n: torch.zeros_like(p) for n, p in named.items()} for moment in MOMENTS}
        """``exp_avg`` and ``exp_avg_sq``, each by parameter name."""

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        if isinstance(self._rate, Tensor):
            self._rate.fill_(rate)
        else:
            self._rate = rate

    @property
    def steps(self) -> int:
        """Steps that led to the moments."""
        return int(self._steps[0])

    def restore(self, moments: Mapping[str, Mapping[str, Tensor]], steps: int) -> None:
        """Continue after ``steps`` steps that led to ``moments``."""
        for count in self._steps:
            count.fill_(steps)
        for moment, values in self.moments.items():
            for name, value in values.items():
                value.copy_(moments[moment][name])

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters by their gradients."""
        exp_avgs, exp_avg_sqs = ([*self.moments[moment].values()] for moment in MOMENTS)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        adam(
            self._parameters, gradients, exp_avgs, exp_avg_sqs, [], self._steps,
            fused=True, capturable=isinstance(self._rate, Tensor), amsgrad=False, maximize=False,
            beta1=self._betas[0], beta2=self._betas[1],
            lr=self._rate, eps=self._epsilon, weight_decay=self._decay,
            decoupled_weight_decay=self._decay > 0,
        )  # fmt: skip
