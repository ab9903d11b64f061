"""Which parameters matter: integrated gradients between two snapshots, and the mask that freezes the top.

Section 3.3 of the paper. The path runs from theta' (after uniform training) to theta (after inverse
training) through parameter space (Eq. 9); the importance of a weight is the size of its integrated gradient.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from bspa.system.cuda_graphs import capture

log = logging.getLogger("bspa")

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
        model: the network; its parameters keep their values and are channels last in memory then, its
            ``grad`` fields are empty.
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
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    original = {name: p.detach().clone() for name, p in parameters.items()}
    start = {name: torch.empty_like(p).copy_(baseline[name]) for name, p in original.items()}
    change = {name: torch.empty_like(p).copy_(target[name]).sub_(start[name]) for name, p in original.items()}
    model.zero_grad(set_to_none=True)

    def accumulate(lr: Tensor, hr: Tensor) -> Tensor:
        # backward() adds to .grad: that is the Riemann sum, kept on the device.
        value = loss(model(lr), hr) / len(batches)
        value.backward()
        return value.detach()

    try:
        add = _recorded(accumulate, parameters.values(), batches) if _same_on_gpu(batches) else accumulate
        for s in range(steps):
            with torch.no_grad():
                for name, parameter in parameters.items():
                    torch.add(start[name], change[name], alpha=s / steps, out=parameter)
            for lr, hr in batches:
                add(lr, hr)
        return {
            name: torch.zeros_like(p) if p.grad is None else change[name] * p.grad / steps
            for name, p in parameters.items()
        }
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(original[name])
        model.zero_grad(set_to_none=True)


def _same_on_gpu(batches: Sequence[Batch]) -> bool:
    shapes = {(lr.shape, hr.shape) for lr, hr in batches}
    return len(shapes) == 1 and batches[0][0].device.type == "cuda"


def _recorded(
    accumulate: Callable[[Tensor, Tensor], Tensor],
    parameters: Iterable[nn.Parameter],
    batches: Sequence[Batch],
) -> Callable[[Tensor, Tensor], Tensor]:
    """Record ``accumulate`` for batches of one shape, see `bspa.system.cuda_graphs`; the gradients begin as zeros."""
    parameters = list(parameters)
    lr_buffer, hr_buffer = (pixels.clone() for pixels in batches[0])

    def work() -> Tensor:
        return accumulate(lr_buffer, hr_buffer)

    def clear() -> None:
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.zero_()

    clear()
    try:
        replay = capture(work, warm_up=work, device=lr_buffer.device)
    except RuntimeError as error:
        log.warning("the gradients cannot be recorded (%s): they take longer", error)
        return accumulate
    finally:
        clear()

    def add(lr: Tensor, hr: Tensor) -> Tensor:
        lr_buffer.copy_(lr)
        hr_buffer.copy_(hr)
        return replay()

    return add


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
