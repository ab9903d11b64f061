"""Samplings and objectives by name, and the validation. A stage's digest follows those it uses, not this."""

from __future__ import annotations

from collections.abc import Callable

from bspa.sampling import informative, inverse, uniform
from bspa.sampling.sampler import Sampler
from bspa.training import charbonnier, l1_frequency, losses, mse, previews, uncertainty, validation
from bspa.training.task import PixelLoss, PrepareTask

SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "uniform": uniform.open_sampler,
    "inverse": inverse.open_sampler,
    "informative": informative.open_sampler,
}
"""Sampling -> function that opens it: (images, source, *, patch, batch, seed, shuffle_from)."""

OBJECTIVES: dict[str, PrepareTask] = {
    "l1": losses.prepare_l1,
    "charbonnier": charbonnier.prepare_charbonnier,
    "mse": mse.prepare_mse,
    "l1_frequency": l1_frequency.prepare_l1_frequency,
    "uncertainty": uncertainty.prepare_uncertainty,
    "weighted": uncertainty.prepare_weighted,
}
"""Objective -> function that prepares a stage's task."""

LOSSES: dict[str, PixelLoss] = {
    "l1": losses.l1,
    "charbonnier": charbonnier.charbonnier,
    "mse": mse.mse,
    "l1_frequency": l1_frequency.l1_frequency,
}
"""Objective -> its loss, for objectives that compare only output and HR; importance is about one of these."""

open_validation = validation.open_validation
Previews = previews.Previews
