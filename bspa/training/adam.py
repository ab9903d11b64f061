"""Adam, as torch computes it, with its state by parameter name.

This calls the functional form of `torch.optim.Adam`. The class imports torch's compiler at its first call,
which costs 1.3 to 2.2 s at the start of every stage; the result is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

MOMENTS = ("exp_avg", "exp_avg_sq")


class Adam:
    """Adam over the trainable parameters of a model, in one fused kernel.

    Args:
        model: on its device, in its final memory layout.
        betas: decay of the two moments.
        epsilon: added to the denominator.
    """

    def __init__(self, model: nn.Module, *, betas: tuple[float, float], epsilon: float):
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        device = next(iter(self._parameters.values())).device
        self._betas, self._epsilon = betas, epsilon
        # On a GPU the rate lies in device memory, so that a recorded step reads its current value.
        self._rate: float | Tensor = torch.zeros((), device=device) if device.type == "cuda" else 0.0
        self._steps = {name: torch.zeros((), device=device) for name in self._parameters}
        self.moments = {
            moment: {name: torch.zeros_like(p) for name, p in self._parameters.items()} for moment in MOMENTS
        }
        """Moment -> parameter name -> tensor of the parameter's shape; zeros before the first step."""

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        if isinstance(self._rate, Tensor):
            self._rate.fill_(rate)
        else:
            self._rate = rate

    @torch.no_grad()
    def restore(self, moments: Mapping[str, Mapping[str, Tensor]], steps: int) -> None:
        """Go on from ``moments`` after ``steps`` steps; parameters without moments keep theirs."""
        for name in self._parameters.keys() & moments["exp_avg"].keys():
            self._steps[name].fill_(steps)
            for moment in MOMENTS:
                self.moments[moment][name].copy_(moments[moment][name])

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters that have gradients."""
        changed = {name: p for name, p in self._parameters.items() if p.grad is not None}
        adam(
            [*changed.values()],
            [p.grad for p in changed.values() if p.grad is not None],
            *([self.moments[moment][name] for name in changed] for moment in MOMENTS),
            max_exp_avg_sqs=[],
            state_steps=[self._steps[name] for name in changed],
            fused=True,
            capturable=isinstance(self._rate, Tensor),
            amsgrad=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=self._rate,
            weight_decay=0.0,
            eps=self._epsilon,
            maximize=False,
        )
