"""Training losses. Shape legend: n samples, c colours, h and w pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of (n, c, h, w) images in [0, 1], in float32 (Section 3.3)."""
    return torch.nn.functional.l1_loss(output.float(), target)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1}
