"""Which parameters matter: integrated gradients between two snapshots, and the mask that freezes the top.

Section 3.3 of the paper. The path runs from theta' (after uniform training) to theta (after inverse
training) through parameter space (Eq. 9); the importance of a weight is the size of its integrated gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
UNITS = ("weight", "filter")


def attributable(model: nn.Module) -> list[str]:
    """Name the weights that compete: trainable weights of convolutions and transposed convolutions.

    Biases and activations' parameters do not take part.
    """
    return [
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.requires_grad
    ]


def integrated_gradients(
    model: nn.Module,
    baseline: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    batches: Sequence[Batch],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int = 100,
) -> dict[str, Tensor]:
    """Attribute the change of the loss from ``baseline`` to ``target`` to every trainable parameter (Eq. 10).

    The left Riemann sum of ``steps`` points on the straight path; the gradient at each point is that of the
    mean loss over all ``batches``, in float32. Only one copy of the network and one sum of gradients exist at
    any time, whatever ``steps`` is. The values are signed; their sum over all parameters approaches
    ``loss(target) - loss(baseline)`` as ``steps`` grows (completeness).

    Args:
        model: the network; its parameters are left as they were, its ``grad`` fields empty.
        baseline: state dict of theta', the snapshot after the uniform phase.
        target: state dict of theta, the snapshot after the inverse phase.
        batches: pairs of LR (n, 3, h, w) and HR (n, 3, sh, sw) float32 in [0, 1], on the model's device.
        loss: scalar loss of (output, HR).
        steps: M, at least 1.

    Returns:
        Parameter name -> float32 tensor of the parameter's shape, on the model's device.

    Raises:
        ValueError: fewer than one step or batch, or a snapshot that is not of this network.
    """
    if steps < 1 or not batches:
        raise ValueError(f"integrated gradients need steps and batches, got {steps} and {len(batches)}")
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for which, snapshot in (("baseline", baseline), ("target", target)):
        for name, parameter in parameters.items():
            if name not in snapshot or snapshot[name].shape != parameter.shape:
                found = tuple(snapshot[name].shape) if name in snapshot else "nothing"
                raise ValueError(
                    f"the {which} snapshot is of another network: "
                    f"{name} is {found}, not {tuple(parameter.shape)}"
                )
    original = {name: p.detach().clone() for name, p in parameters.items()}
    start = {name: baseline[name].to(p) for name, p in parameters.items()}
    change = {name: target[name].to(p) - start[name] for name, p in parameters.items()}
    model.zero_grad(set_to_none=True)
    try:
        for s in range(steps):
            with torch.no_grad():
                for name, parameter in parameters.items():
                    torch.add(start[name], change[name], alpha=s / steps, out=parameter)
            # backward() adds to .grad: that is the Riemann sum, kept on the device.
            for lr, hr in batches:
                (loss(model(lr), hr) / len(batches)).backward()
        return {
            name: torch.zeros_like(p) if p.grad is None else change[name] * p.grad / steps
            for name, p in parameters.items()
        }
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(original[name])
        model.zero_grad(set_to_none=True)


def importance(gradients: Mapping[str, Tensor], names: Sequence[str], unit: str) -> dict[str, Tensor]:
    """Turn signed integrated gradients into importance: |IG| per weight, or summed over each 2-D kernel.

    Args:
        gradients: parameter name -> signed integrated gradient.
        names: the weights that compete, see `attributable`.
        unit: ``weight`` (WIG, the paper's choice) gives tensors of the weights' own shape (a, b, h, w);
            ``filter`` (FIG) gives (a, b, 1, 1), one value for each pair of channels.
    """
    if unit not in UNITS:
        raise ValueError(f"attribution.unit: {unit!r}; allowed are {', '.join(UNITS)}")
    sizes = {name: gradients[name].detach().abs() for name in names}
    return sizes if unit == "weight" else {name: v.sum((2, 3), keepdim=True) for name, v in sizes.items()}


def top_fraction_mask(
    importance: Mapping[str, Tensor], fraction: float, keep: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Mark the most important units over all layers together (Eq. 11).

    Exactly ``round(fraction * n)`` of the n units are marked; among equals, the first in order of layer and
    position. Units marked in ``keep`` are taken first (the ``cumulative`` update).

    Args:
        importance: name -> non-negative tensor, in layer order; every element is one unit.
        fraction: p = beta * e / T, in [0, 1].
        keep: name -> bool tensor of the same shapes, or None.

    Returns:
        Name -> bool tensor of the same shape, True where the unit is to be frozen.

    Raises:
        ValueError: the fraction is outside [0, 1], or an importance is not finite.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction of frozen units: {fraction}; allowed is 0 to 1")
    scores = torch.cat([v.detach().flatten().double() for v in importance.values()])
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("the importance of some parameters is not finite; the snapshots have diverged")
    count = round(fraction * scores.numel())
    if keep is not None:
        scores[torch.cat([keep[name].flatten() for name in importance])] = torch.inf
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    if count:
        least = torch.topk(scores, count, sorted=False).values.min()
        chosen = scores > least
        ties = torch.nonzero(scores == least).flatten()
        chosen[ties[: count - int(chosen.sum())]] = True
    masks = {}
    for name, part in zip(importance, chosen.split([v.numel() for v in importance.values()]), strict=True):
        masks[name] = part.reshape(importance[name].shape).clone()
    return masks
