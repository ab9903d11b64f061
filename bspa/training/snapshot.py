"""A training run at one instant: weights, their average, Adam's moments, and how many steps led here.

Sampling is a pure function of (seed, step), and nothing else in training draws random numbers, so the step
count stands for every random generator and for the position in the data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bspa.models.weights import load_into, load_weights, save_weights

FORMAT = "bspa-snapshot-1"
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What `train_stage` begins and ends with; every tensor on the CPU."""

    weights: Mapping[str, Tensor]
    """The network's state dict."""
    moments: Mapping[str, Mapping[str, Tensor]]
    """Adam's ``exp_avg`` and ``exp_avg_sq``, each by parameter name; empty before the first step."""
    optimiser_steps: int
    """Steps since the weights were initialised, over all stages."""
    average: Mapping[str, Tensor] = field(default_factory=dict)
    """Moving average of the trainable weights; empty where none is kept."""

    @property
    def delivered(self) -> dict[str, Tensor]:
        """The state dict for users: the averaged weights where there are such, else the last."""
        return {**self.weights, **self.average}


def take_snapshot(
    model: nn.Module,
    optimiser: torch.optim.Adam,
    optimiser_steps: int,
    average: Mapping[str, Tensor],
) -> Snapshot:
    """Copy the state of ``model`` and ``optimiser`` to the CPU, and the ``average`` of the weights."""
    moments: dict[str, dict[str, Tensor]] = {moment: {} for moment in MOMENTS}
    for name, parameter in model.named_parameters():
        state = optimiser.state.get(parameter)
        if state:
            for moment in MOMENTS:
                moments[moment][name] = _copy(state[moment])
    weights = {name: _copy(value) for name, value in model.state_dict().items()}
    averages = {name: _copy(value) for name, value in average.items()}
    return Snapshot(weights=weights, moments=moments, optimiser_steps=optimiser_steps, average=averages)


def restore_snapshot(snapshot: Snapshot, model: nn.Module, optimiser: torch.optim.Adam, *, path: str) -> None:
    """Put ``snapshot`` (read from ``path``, named in errors) into ``model`` and ``optimiser``.

    Raises:
        ValueError: the snapshot is of another network.
    """
    load_into(model, dict(snapshot.weights), path=path)
    for name, parameter in model.named_parameters():
        if name in snapshot.moments["exp_avg"]:
            state = optimiser.state[parameter] = _zero_state(parameter, optimiser)
            state["step"].fill_(snapshot.optimiser_steps)
            for moment in MOMENTS:
                state[moment].copy_(snapshot.moments[moment][name])


def start_moments(model: nn.Module, optimiser: torch.optim.Adam) -> None:
    """Give every trainable parameter that has no moments yet the zeros that Adam begins with."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter not in optimiser.state:
            optimiser.state[parameter] = _zero_state(parameter, optimiser)


def _zero_state(parameter: nn.Parameter, optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    # Adam counts steps in float32 on the device of a fused optimiser, on the CPU otherwise.
    device = parameter.device if optimiser.defaults["fused"] else "cpu"
    step = torch.zeros((), dtype=torch.float32, device=device)
    return {"step": step, **{moment: torch.zeros_like(parameter) for moment in MOMENTS}}


def save_snapshot(path: str | os.PathLike[str], snapshot: Snapshot, metadata: Mapping[str, str]) -> None:
    """Write ``snapshot`` as one safetensors file; the same state gives the same bytes."""
    tensors = {f"weights.{name}": value for name, value in snapshot.weights.items()}
    for moment, values in snapshot.moments.items():
        tensors |= {f"{moment}.{name}": value for name, value in values.items()}
    tensors |= {f"average.{name}": value for name, value in snapshot.average.items()}
    header = {"format": FORMAT, "optimiser_steps": str(snapshot.optimiser_steps)}
    save_weights(path, tensors, {**metadata, **header})


def load_snapshot(path: str | os.PathLike[str]) -> tuple[Snapshot, dict[str, str]]:
    """Read a snapshot and its metadata.

    Raises:
        ValueError: ``path`` is not a snapshot of this version.
    """
    tensors, metadata = load_weights(path)
    if metadata.get("format") != FORMAT:
        found = metadata.get("format")
        raise ValueError(f"{path}: not a training snapshot (format {found!r}, not {FORMAT!r})")
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in ("weights", "average", *MOMENTS)}
    for key, value in tensors.items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    snapshot = Snapshot(
        weights=parts["weights"],
        moments={moment: parts[moment] for moment in MOMENTS},
        optimiser_steps=int(metadata["optimiser_steps"]),
        average=parts["average"],
    )
    return snapshot, metadata


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
