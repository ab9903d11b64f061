"""What a stage trains and what it minimises. Shape legend: n samples, h and w LR pixels, s scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from bspa.models.layers import Network
from bspa.models.precision import Precision
from bspa.models.registry import build
from bspa.training.snapshot import Snapshot, load_snapshot
from bspa.training.stage import Stage


class Objective(Protocol):
    """What a stage minimises: a scalar, differentiable in the model's weights."""

    def __call__(self, model: nn.Module, lr: Tensor, hr: Tensor, precision: Precision) -> Tensor:
        """Return the loss of a batch: LR (n, 3, h, w) and HR (n, 3, s h, s w), float32 in [0, 1].

        Networks run under ``precision.autocast()``; the rest is in float32.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A stage's network, objective and initial state."""

    model: nn.Module
    """With the initial weights of its seed."""
    objective: Objective
    initial: Snapshot | None
    """What the stage starts from; None at the start of a run."""
    initial_path: str = ""
    """File of the initial state, for messages."""
    delivered: str = ""
    """Name of the model's part that is the network to deliver; empty: the whole model."""


PrepareTask = Callable[[Stage, str | None, torch.device], Task]
"""(stage, file of the previous snapshot or None, device of helper networks) -> task."""


def continue_from(previous: str | None, model: nn.Module, objective: Objective) -> Task:
    """Train all of ``model``, from the snapshot ``previous`` or else from its initial weights."""
    initial = load_snapshot(previous)[0] if previous else None
    return Task(model=model, objective=objective, initial=initial, initial_path=previous or "")


def build_seeded(arch: str, scale: int, options: Mapping[str, int | float | str], seed: int) -> Network:
    """Build a network with the initial weights of ``seed``; torch's own random state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch, scale, **options)
