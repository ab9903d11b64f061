"""Integrated gradients between two snapshots, and the importance of weights (Section 3.3).

The straight path runs through parameter space from theta' (after the uniform phase) to theta (after the
inverse phase) (Eq. 9). The importance of a weight is the size of its integrated gradient.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from bspa.models.layers import place_model
from bspa.system.cuda_graphs import capture

log = logging.getLogger("bspa")

Batch = tuple[Tensor, Tensor]


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

    This is the Riemann sum over ``steps`` points of the straight path; the gradient at a point is that of the
    mean loss over ``batches``, in float32. Memory does not grow with ``steps``: there is one copy of
    the network and one sum of gradients. The sum of all values approaches ``loss(target) - loss(baseline)``
    as ``steps`` grows (completeness).

    Args:
        model: the network. Afterwards its parameters have their values again, lie channels last in memory,
            and have no gradients.
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
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    _check_snapshots(parameters, baseline=baseline, target=target)
    place_model(model)
    original = {name: p.detach().clone() for name, p in parameters.items()}
    start = {name: torch.empty_like(p).copy_(baseline[name]) for name, p in original.items()}
    change = {name: torch.empty_like(p).copy_(target[name]).sub_(start[name]) for name, p in original.items()}
    model.zero_grad(set_to_none=True)

    def accumulate(lr: Tensor, hr: Tensor) -> Tensor:
        # backward() adds to .grad, which so holds the Riemann sum.
        value = loss(model(lr), hr) / len(batches)
        value.backward()
        return value.detach()

    one_shape = len({(lr.shape, hr.shape) for lr, hr in batches}) == 1
    recordable = one_shape and batches[0][0].device.type == "cuda"
    try:
        add = _recorded(accumulate, parameters.values(), batches[0]) if recordable else accumulate
        first = 0 if riemann == "left" else 1
        for s in range(first, first + steps):
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


def _check_snapshots(parameters: Mapping[str, Tensor], **snapshots: Mapping[str, Tensor]) -> None:
    for which, snapshot in snapshots.items():
        for name, parameter in parameters.items():
            if name not in snapshot or snapshot[name].shape != parameter.shape:
                found = tuple(snapshot[name].shape) if name in snapshot else "missing"
                raise ValueError(
                    f"the {which} snapshot is of another network: "
                    f"{name} is {found}, not {tuple(parameter.shape)}"
                )


def _recorded(
    accumulate: Callable[[Tensor, Tensor], Tensor],
    parameters: Iterable[nn.Parameter],
    batch: Batch,
) -> Callable[[Tensor, Tensor], Tensor]:
    """Record ``accumulate`` on a GPU for batches like ``batch``, with gradients of zero to begin with."""
    parameters = [*parameters]
    lr_buffer, hr_buffer = (pixels.clone() for pixels in batch)

    def work() -> Tensor:
        return accumulate(lr_buffer, hr_buffer)

    def clear() -> None:
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.zero_()

    clear()
    try:
        replay = capture(work, warm_up=work, device=lr_buffer.device)
    except RuntimeError as error:
        log.warning("CUDA cannot record the gradients (%s): they are computed one by one, slower", error)
        return accumulate
    finally:
        clear()

    def add(lr: Tensor, hr: Tensor) -> Tensor:
        lr_buffer.copy_(lr)
        hr_buffer.copy_(hr)
        return replay()

    return add
