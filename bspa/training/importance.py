"""The importance of weights: integrated gradients (Section 3.3), and criteria to compare them with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bspa.models.weights import load_into
from bspa.sampling.random_numbers import RandomNumbers
from bspa.training.attribution import Batch, attributable, integrated_gradients
from bspa.training.stage import Attribution

Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class InversePhase:
    """What a criterion looks at."""

    model: nn.Module
    """The network, on the device to compute on; it may be changed."""
    baseline: Mapping[str, Tensor]
    """State dict of theta', before the phase."""
    target: Mapping[str, Tensor]
    """State dict of theta, after the phase."""
    loss: Callable[[Tensor, Tensor], Tensor]
    """Scalar loss of (output, HR)."""


def measure_importance(
    phase: InversePhase, batches: Sequence[Batch], attribution: Attribution
) -> tuple[Tensors, list[Tensors]]:
    """Measure how important each unit is, by ``attribution.criterion``.

    A unit is a weight (``unit: weight``, WIG), or a 2-D kernel, whose weights' importances are summed
    (``filter``, FIG). The kernels of a linear layer are its single weights, as of a 1x1 convolution.

    Args:
        phase: the inverse phase.
        batches: pairs of LR (n, 3, h, w) and HR (n, 3, s h, s w) float32 in [0, 1], on the model's device.
        attribution: criterion, unit, layers, and how batches are aggregated.

    Returns:
        The importance, and that of each half of the batches; no halves for one batch, and for a criterion
        that needs no batches. Each is name -> non-negative CPU tensor, of the weight's shape (a, b, h, w) or,
        for kernels, (a, b, 1, 1); of a linear layer always (a, b). Only ratios count.
    """

    def of_units(values: Tensors) -> Tensors:
        ranked = attributable(phase.model, attribution.modules)
        sizes = {name: values[name].detach().abs().cpu() for name in ranked}
        if attribution.unit == "weight":
            return sizes
        return {n: size.sum((2, 3), keepdim=True) if size.ndim == 4 else size for n, size in sizes.items()}

    if attribution.criterion in OF_WEIGHTS:
        return of_units(OF_WEIGHTS[attribution.criterion](phase, attribution)), []
    criterion = OF_BATCHES[attribution.criterion]
    middle = len(batches) // 2
    halves = [half for half in (batches[:middle], batches[middle:]) if half]
    sums = []
    for half in halves:
        if attribution.aggregate == "each_batch" or criterion is fisher:
            parts = [criterion(phase, [batch], attribution) for batch in half]
            sums.append(_add([{name: value.abs() for name, value in part.items()} for part in parts]))
        else:
            share = len(half) / len(batches)
            part = criterion(phase, half, attribution)
            sums.append({name: value * share for name, value in part.items()})
    return of_units(_add(sums)), [of_units(of_half) for of_half in sums] if middle else []


def _add(parts: Sequence[Tensors]) -> Tensors:
    return {name: torch.stack([part[name] for part in parts]).sum(0) for name in parts[0]}


def ig(phase: InversePhase, batches: Sequence[Batch], attribution: Attribution) -> Tensors:
    """Integrated gradients (Eq. 10): what each weight's change did to the loss."""
    return integrated_gradients(
        phase.model,
        phase.baseline,
        phase.target,
        batches,
        phase.loss,
        steps=attribution.steps,
        riemann=attribution.riemann,
    )


def taylor(phase: InversePhase, batches: Sequence[Batch], attribution: Attribution) -> Tensors:
    """The gradient before the phase times the change: integrated gradients of one point."""
    del attribution
    return integrated_gradients(phase.model, phase.baseline, phase.target, batches, phase.loss, steps=1)


def fisher(phase: InversePhase, batches: Sequence[Batch], attribution: Attribution) -> Tensors:
    """The squared gradient after the phase: the empirical Fisher information, of a batch."""
    del attribution
    return {name: value.square() for name, value in _gradients_after(phase, batches).items()}


def snip(phase: InversePhase, batches: Sequence[Batch], attribution: Attribution) -> Tensors:
    """The gradient after the phase times the weight (SNIP; Lee et al., ICLR 2019)."""
    del attribution
    gradients = _gradients_after(phase, batches)
    return {name: value * phase.target[name].to(value.device) for name, value in gradients.items()}


def _gradients_after(phase: InversePhase, batches: Sequence[Batch]) -> Tensors:
    """Return the gradients at theta of the mean loss over ``batches``."""
    load_into(phase.model, dict(phase.target), path="the snapshot after the inverse phase")
    phase.model.zero_grad(set_to_none=True)
    for lr, hr in batches:
        (phase.loss(phase.model(lr), hr) / len(batches)).backward()
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in phase.model.named_parameters()
        if parameter.requires_grad
    }
    phase.model.zero_grad(set_to_none=True)
    return gradients


def magnitude(phase: InversePhase, attribution: Attribution) -> Tensors:
    """The weight after the phase."""
    del attribution
    return dict(phase.target)


def change(phase: InversePhase, attribution: Attribution) -> Tensors:
    """The weight's change in the phase."""
    ranked = attributable(phase.model, attribution.modules)
    return {name: phase.target[name] - phase.baseline[name] for name in ranked}


def random(phase: InversePhase, attribution: Attribution) -> Tensors:
    """Random numbers, others in each cycle."""
    return {
        name: torch.from_numpy(
            RandomNumbers(attribution.seed, f"random mask {name}").table(
                attribution.cycle, phase.target[name].numel(), 1
            )
        )
        .float()
        .reshape(phase.target[name].shape)
        for name in attributable(phase.model, attribution.modules)
    }


OF_BATCHES = {"ig": ig, "taylor": taylor, "fisher": fisher, "snip": snip}
"""Criteria that need the loss: (phase, batches, attribution) -> signed tensors by parameter name."""

OF_WEIGHTS = {"magnitude": magnitude, "change": change, "random": random}
"""Criteria that do not: (phase, attribution) -> signed tensors by parameter name."""
