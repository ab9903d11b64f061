"""Samplings and objectives by name. A stage's code digest follows the chosen modules, not this one."""

from __future__ import annotations

from collections.abc import Callable

from bspa.data.packed import PackedImages
from bspa.difficulty.shards import open_shards
from bspa.sampling.sampler import InformativeSampler, InverseSampler, Sampler, UniformSampler
from bspa.sampling.selections import read_selection
from bspa.training.losses import prepare_l1
from bspa.training.task import PrepareTask
from bspa.training.uncertainty import prepare_uncertainty, prepare_weighted


def _open_uniform(
    images: PackedImages, source: str | None, *, patch: int, batch: int, seed: int
) -> Sampler:
    del source
    return UniformSampler(images, patch=patch, batch=batch, seed=seed)


def _open_inverse(
    images: PackedImages, source: str | None, *, patch: int, batch: int, seed: int
) -> Sampler:
    del patch
    assert source is not None
    shards = open_shards(source)
    return InverseSampler(
        shards, images=images if shards[0].samples == "windows" else None, batch=batch, seed=seed
    )


def _open_informative(
    images: PackedImages, source: str | None, *, patch: int, batch: int, seed: int
) -> Sampler:
    assert source is not None
    return InformativeSampler(images, read_selection(source), patch=patch, batch=batch, seed=seed)


SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "uniform": _open_uniform,
    "inverse": _open_inverse,
    "informative": _open_informative,
}
"""Sampling -> function of (images, source, patch, batch, seed)."""

OBJECTIVES: dict[str, PrepareTask] = {
    "l1": prepare_l1,
    "uncertainty": prepare_uncertainty,
    "weighted": prepare_weighted,
}
"""Objective -> function that prepares the task of a stage."""
