"""A training run at one instant: weights, their average, Adam's moments and step count, and their file.

Sampling is a pure function of (seed, step), and nothing else in training draws random numbers. So the step
count stands for the random generators and for the position in the data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from bspa.models.weights import load_into, load_weights, save_weights
from bspa.training.adam import MOMENTS, Adam

FORMAT = "bspa-snapshot-2"


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    """The weights with the highest validation score of a run so far."""

    weights: Mapping[str, Tensor]
    """State dict of the network to deliver, on the CPU."""
    psnr: float
    step: int
    """Optimiser steps of the run that led to them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What a stage begins and ends with; every tensor on the CPU."""

    weights: Mapping[str, Tensor]
    """The network's state dict."""
    moments: Mapping[str, Mapping[str, Tensor]]
    """Adam's ``exp_avg`` and ``exp_avg_sq``, each by parameter name."""
    optimiser_steps: int
    """Steps since the weights were initialised, over all stages."""
    adam_steps: int
    """Steps that led to the moments; fewer than `optimiser_steps` where a stage started them afresh."""
    average: Mapping[str, Tensor] = field(default_factory=dict)
    """Moving average of the trainable weights; empty if none is kept."""
    best: Best | None = None
    """None without validation."""

    def delivered(self, select: str) -> dict[str, Tensor]:
        """Return the state dict for users: ``last``, ``average`` or ``best``."""
        if select == "best":
            assert self.best is not None
            return dict(self.best.weights)
        return {**self.weights, **self.average} if select == "average" else dict(self.weights)


def take_snapshot(
    model: nn.Module, adam: Adam, steps: int, average: Mapping[str, Tensor], best: Best | None = None
) -> Snapshot:
    """Copy the state after ``steps`` steps to the CPU."""
    return Snapshot(
        adam_steps=adam.steps,
        best=best,
        weights=_copy(model.state_dict()),
        moments={moment: _copy(values) for moment, values in adam.moments.items()},
        optimiser_steps=steps,
        average=_copy(average),
    )


def restore_snapshot(snapshot: Snapshot, model: nn.Module, adam: Adam, *, path: str) -> None:
    """Put ``snapshot`` (read from ``path``, named in errors) into ``model`` and ``adam``."""
    load_into(model, dict(snapshot.weights), path=path)
    adam.restore(snapshot.moments, snapshot.adam_steps)


def save_snapshot(path: str | os.PathLike[str], snapshot: Snapshot, metadata: Mapping[str, str]) -> None:
    """Write ``snapshot`` as one safetensors file; the same state gives the same bytes."""
    tensors = {f"weights.{name}": value for name, value in snapshot.weights.items()}
    for moment, values in snapshot.moments.items():
        tensors |= {f"{moment}.{name}": value for name, value in values.items()}
    tensors |= {f"average.{name}": value for name, value in snapshot.average.items()}
    header = {
        "format": FORMAT,
        "optimiser_steps": str(snapshot.optimiser_steps),
        "adam_steps": str(snapshot.adam_steps),
    }
    if snapshot.best:
        tensors |= {f"best.{name}": value for name, value in snapshot.best.weights.items()}
        header |= {"best_psnr": repr(snapshot.best.psnr), "best_step": str(snapshot.best.step)}
    save_weights(path, tensors, {**metadata, **header})


def load_snapshot(path: str | os.PathLike[str]) -> tuple[Snapshot, dict[str, str]]:
    """Read a snapshot and its metadata; a ValueError if ``path`` is none of this version."""
    tensors, metadata = load_weights(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: format is {metadata.get('format')!r}; allowed is {FORMAT!r}")
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in ("weights", "average", "best", *MOMENTS)}
    for key, value in tensors.items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    best = None
    if parts["best"]:
        psnr, step = float(metadata["best_psnr"]), int(metadata["best_step"])
        best = Best(weights=parts["best"], psnr=psnr, step=step)
    snapshot = Snapshot(
        weights=parts["weights"],
        moments={moment: parts[moment] for moment in MOMENTS},
        optimiser_steps=int(metadata["optimiser_steps"]),
        average=parts["average"],
        adam_steps=int(metadata["adam_steps"]),
        best=best,
    )
    return snapshot, metadata


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
