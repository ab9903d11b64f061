"""A training run at one instant: weights, their average, Adam's moments and step count, and their file.

Sampling is a pure function of (seed, step), and nothing else in training draws random numbers. So the step
count stands for the random generators and for the position in the data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from bspa.models.weights import load_weights, save_weights
from bspa.training.adam import MOMENTS, Adam

FORMAT = "bspa-snapshot-1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What a stage begins and ends with; every tensor on the CPU."""

    weights: Mapping[str, Tensor]
    """The network's state dict."""
    moments: Mapping[str, Mapping[str, Tensor]]
    """Adam's ``exp_avg`` and ``exp_avg_sq``, each by parameter name."""
    optimiser_steps: int
    """Steps since the weights were initialised, over all stages."""
    average: Mapping[str, Tensor] = field(default_factory=dict)
    """Moving average of the trainable weights; empty if none is kept."""
    path: str = ""
    """The file that it was read from, for messages."""

    @property
    def delivered(self) -> dict[str, Tensor]:
        """The state dict for users: the last weights, or their average if one is kept."""
        return {**self.weights, **self.average}


def take_snapshot(model: nn.Module, adam: Adam, steps: int, average: Mapping[str, Tensor]) -> Snapshot:
    """Copy the state after ``steps`` steps to the CPU."""
    return Snapshot(
        weights=_copy(model.state_dict()),
        moments={moment: _copy(values) for moment, values in adam.moments.items()},
        optimiser_steps=steps,
        average=_copy(average),
    )


def save_snapshot(path: str | os.PathLike[str], snapshot: Snapshot, metadata: Mapping[str, str]) -> None:
    """Write ``snapshot`` as one safetensors file; the same state gives the same bytes."""
    parts = {"weights": snapshot.weights, **snapshot.moments, "average": snapshot.average}
    tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    header = {"format": FORMAT, "optimiser_steps": str(snapshot.optimiser_steps)}
    save_weights(path, tensors, {**metadata, **header})


def load_snapshot(path: str | os.PathLike[str]) -> tuple[Snapshot, dict[str, str]]:
    """Read a snapshot and its metadata; a ValueError if ``path`` is none of this version."""
    tensors, metadata = load_weights(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: format is {metadata.get('format')!r}; allowed is {FORMAT!r}")
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in ("weights", "average", *MOMENTS)}
    for key, value in tensors.items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    moments, steps = {moment: parts.pop(moment) for moment in MOMENTS}, int(metadata["optimiser_steps"])
    return Snapshot(**parts, moments=moments, optimiser_steps=steps, path=str(path)), metadata


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
