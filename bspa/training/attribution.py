"""Integrated gradients between two snapshots, the importance of weights, and the mask (Section 3.3).

The straight path runs through parameter space from theta' (after the uniform phase) to theta (after the
inverse phase) (Eq. 9). The importance of a weight is the size of its integrated gradient. The most important
weights are to be frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from bspa.models.layers import place_model
from bspa.models.weights import load_into
from bspa.system.cuda_graphs import capture_or_run

Batch = tuple[Tensor, Tensor]
Unit = Literal["weight", "filter"]


MODULES: dict[str, tuple[type[nn.Module], ...]] = {
    "conv": (nn.Conv2d, nn.ConvTranspose2d),
    "linear": (nn.Linear,),
}
"""Layers whose weights can be ranked, by the names of `attribution.modules`."""


def attributable(model: nn.Module, modules: Sequence[str] = ("conv",)) -> list[str]:
    """Return the names of the weights that are ranked: trainable ones of the layers that `MODULES` names.

    Raises:
        ValueError: the network has no such layer.
    """
    layers = tuple(layer for name in modules for layer in MODULES[name])
    names = [
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, layers) and module.weight.requires_grad
    ]
    if not names:
        raise ValueError(f"attribution.modules: {list(modules)}: the network has no such layer to rank")
    return names


def integrated_gradients(
    model: nn.Module,
    baseline: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    batches: Sequence[Batch],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int = 100,
    riemann: Literal["left", "right"] = "left",
) -> dict[str, Tensor]:
    """Attribute the change of the loss from ``baseline`` to ``target`` to every trainable parameter (Eq. 10).

    This is the Riemann sum over ``steps`` points of the straight path; the gradient at a point is that
    of the mean loss over ``batches``, in float32. Memory does not grow with ``steps``: there is one copy of
    the network and one sum of gradients. The sum of all values approaches ``loss(target) - loss(baseline)``
    as ``steps`` grows (completeness).

    Args:
        model: the network. Afterwards it has its weights again, channels last in memory, and no gradients.
        baseline: state dict of theta', the snapshot after the uniform phase.
        target: state dict of theta, the snapshot after the inverse phase.
        batches: pairs of LR (n, 3, h, w) and HR (n, 3, s h, s w) float32 in [0, 1], on the model's device.
        loss: scalar loss of (output, HR).
        steps: M, at least 1.
        riemann: ``left``: the points include ``baseline`` and not ``target``; ``right``: the reverse.

    Returns:
        Parameter name -> signed float32 tensor of the parameter's shape, on the model's device.

    Raises:
        ValueError: fewer than one step or batch, or a snapshot is of another network.
    """
    if steps < 1 or not batches:
        raise ValueError(f"steps: {steps}, batches: {len(batches)}; allowed are numbers from 1")
    parameters = {name: p for name, p in place_model(model).named_parameters() if p.requires_grad}
    original = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: torch.zeros_like(p) for name, p in parameters.items()}

    def accumulate(lr: Tensor, hr: Tensor) -> Tensor:
        value = loss(model(lr), hr) / len(batches)
        value.backward()
        return value.detach()

    try:
        load_into(model, baseline, path="baseline snapshot")
        start = {name: p.detach().clone() for name, p in parameters.items()}
        load_into(model, target, path="target snapshot")
        change = {name: p.detach() - start[name] for name, p in parameters.items()}
        for name, parameter in parameters.items():
            parameter.grad = gradients[name]  # to which backward() adds
        add = _recorded(accumulate, batches)
        for gradient in gradients.values():
            gradient.zero_()
        first = 0 if riemann == "left" else 1
        for s in range(first, first + steps):
            with torch.no_grad():
                for name, parameter in parameters.items():
                    torch.add(start[name], change[name], alpha=s / steps, out=parameter)
            for lr, hr in batches:
                add(lr, hr)
        return {name: change[name] * gradient / steps for name, gradient in gradients.items()}
    finally:
        model.load_state_dict(original)
        model.zero_grad(set_to_none=True)


def top_fraction_mask(
    importance: Mapping[str, Tensor], fraction: float, keep: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Mark the most important units of all layers together (Eq. 11).

    Exactly ``round(fraction * n)`` of the n units are marked; among equals, the first in order of layer and
    position. Units marked in ``keep`` are marked first (``update: cumulative``).

    Args:
        importance: name -> tensor, in layer order; every element is a unit.
        fraction: p = beta * e / T, in [0, 1].
        keep: name -> bool tensor of the same shapes, or None.

    Returns:
        Name -> bool tensor of the same shape, True where the unit is to be frozen.

    Raises:
        ValueError: the fraction is outside [0, 1], or an importance is not finite.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction: {fraction}; allowed are numbers from 0 to 1")
    scores = torch.cat([values.detach().flatten() for values in importance.values()])
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("the importance of some weights is not finite: the snapshots have diverged")
    if keep is not None:
        scores[torch.cat([keep[name].flatten() for name in importance])] = torch.inf
    order = torch.argsort(scores, descending=True, stable=True)
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    chosen[order[: round(fraction * len(scores))]] = True
    parts = chosen.split([values.numel() for values in importance.values()])
    return {n: part.view(importance[n].shape) for n, part in zip(importance, parts, strict=True)}


def overlap(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float | None:
    """Return the share of the marked units that two masks of as many units have in common; None of none."""
    marked = sum(int(mask.sum()) for mask in first.values())
    common = sum(int((mask & second[name]).sum()) for name, mask in first.items())
    return common / marked if marked else None


def _recorded(
    accumulate: Callable[[Tensor, Tensor], Tensor], batches: Sequence[Batch]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Record ``accumulate`` where the batches are on a GPU and of one shape."""
    if batches[0][0].device.type != "cuda" or len({(lr.shape, hr.shape) for lr, hr in batches}) > 1:
        return accumulate
    lr_buffer, hr_buffer = (pixels.clone() for pixels in batches[0])

    def work() -> Tensor:
        return accumulate(lr_buffer, hr_buffer)

    replay = capture_or_run(work, warm_up=work, device=lr_buffer.device)

    def add(lr: Tensor, hr: Tensor) -> Tensor:
        lr_buffer.copy_(lr)
        hr_buffer.copy_(hr)
        return replay()

    return add
