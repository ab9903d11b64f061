"""The optimiser of training: Adam, ready for steps that are recorded, and quick to start."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn

from bspa.training.old_stage import Stage


class Adam(torch.optim.Adam):
    """torch's, whose methods here leave `torch.compile` alone.

    The first call of torch's own imports the whole compiler, for nothing but to keep it out of what they do:
    1 to 1.5 s in every process.
    """

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    zero_grad = unwrap(torch.optim.Adam.zero_grad)
    state_dict = unwrap(torch.optim.Adam.state_dict)
    load_state_dict = unwrap(torch.optim.Adam.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Change the parameters by their gradients."""
        return unwrap(torch.optim.Adam.step)(self, closure)


def make_optimiser(model: nn.Module, stage: Stage, *, capturable: bool = False) -> Adam:
    """Adam over the trainable parameters, as one fused kernel.

    ``capturable``: for a step that is recorded, which reads the learning rate from the device's memory.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    rate: float | Tensor = stage.learning_rate
    if capturable:
        rate = torch.tensor(rate, device=trainable[0].device)
    return Adam(trainable, lr=rate, betas=stage.betas, eps=stage.epsilon, fused=True, capturable=capturable)


def set_learning_rate(optimiser: torch.optim.Adam, rate: float) -> None:
    """Set it for the next steps."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
