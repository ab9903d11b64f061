"""Samplings and objectives by name, and the validation. A stage's digest follows those it uses, not this."""

from __future__ import annotations

from collections.abc import Callable

from bspa.sampling import informative, inverse, uniform
from bspa.sampling.sampler import Sampler
from bspa.training import losses, uncertainty, validation
from bspa.training.task import PrepareTask

SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "uniform": uniform.open_sampler,
    "inverse": inverse.open_sampler,
    "informative": informative.open_sampler,
}
"""Sampling -> function that opens it: (images, source, *, patch, batch, seed, shuffle_from)."""

OBJECTIVES: dict[str, PrepareTask] = {
    "l1": losses.prepare_l1,
    "uncertainty": uncertainty.prepare_uncertainty,
    "weighted": uncertainty.prepare_weighted,
}
"""Objective -> function that prepares a stage's task."""

open_validation = validation.open_validation
