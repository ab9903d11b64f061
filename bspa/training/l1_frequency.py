"""L1 and the L1 of the Fourier transforms, as SAFMN is trained (Sun et al., ICCV 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from bspa.training.snapshot import Snapshot
from bspa.training.stage import Stage
from bspa.training.task import Task, pixel_objective, pixel_task

WEIGHT = 0.05
"""Of the frequency term, as in SAFMN; the transform is not normalised."""


def l1_frequency(output: Tensor, target: Tensor) -> Tensor:
    """Return L1 plus `WEIGHT` times the mean absolute error of the spectra, their real and imaginary parts.

    Of (n, 3, h, w) images in [0, 1], in float32; the spectra are 2-D, for each image and colour.
    """
    error = output.float() - target
    spectrum = torch.view_as_real(torch.fft.fft2(error))
    return error.abs().mean() + WEIGHT * spectrum.abs().mean()


l1_frequency_objective = pixel_objective(l1_frequency)
"""The loss of a batch; see `bspa.training.task.Objective`."""


def prepare_l1_frequency(stage: Stage, initial: Snapshot | None, _device: torch.device) -> Task:
    """Train the network alone on it; see `bspa.training.task.pixel_task`."""
    return pixel_task(l1_frequency_objective, stage, initial)
