"""Masks: which weights to freeze, their file, and how training keeps them (Section 3.3)."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bspa.models.weights import load_weights


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
    scores = torch.cat([v.detach().flatten().double() for v in importance.values()])
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("the importance of some weights is not finite: the snapshots have diverged")
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


def load_masks(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the masks of an attribution: parameter name -> bool tensor, True where the weight is frozen."""
    tensors, _ = load_weights(path)
    return {name.removeprefix("mask."): t for name, t in tensors.items() if name.startswith("mask.")}


class FrozenWeights:
    """Keeps the masked weights of a model bit-identical through optimiser steps.

    A gradient of zero is not enough: Adam's momentum still moves the weight. So the weights get their values
    back after each step. With ``moments: fade`` their gradients are zeroed, which lets Adam's moments decay;
    with ``keep`` the moments go on as if the weights were trained.

    The values kept are those of ``model`` now. A mask is a bool tensor of its parameter's shape, True where
    the weight is frozen.
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor], *, moments: str = "fade"):
        self._fade = moments == "fade"
        parameters = dict(model.named_parameters())
        self._frozen: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        for name, mask in masks.items():
            if name not in parameters or mask.shape != parameters[name].shape:
                raise ValueError(f"the mask is of another network: {name} {tuple(mask.shape)} does not fit")
            if mask.any():
                parameter = parameters[name]
                mask = torch.empty_like(parameter, dtype=torch.bool).copy_(mask)
                self._frozen.append((parameter, mask, parameter.detach().clone()))

    def zero_gradients(self) -> None:
        """Zero the gradients of the frozen weights, if their moments are to fade."""
        for parameter, mask, _ in self._frozen if self._fade else ():
            if parameter.grad is not None:
                parameter.grad.masked_fill_(mask, 0.0)

    @torch.no_grad()
    def restore_values(self) -> None:
        """Give the frozen weights their values back."""
        for parameter, mask, values in self._frozen:
            parameter.copy_(torch.where(mask, values, parameter))
