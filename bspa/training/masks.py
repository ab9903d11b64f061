"""Masks as training uses them: read from the file of an attribution, and held (Section 3.3)."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bspa.models.weights import load_weights


def load_masks(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the masks of an attribution: parameter name -> bool tensor, True where the weight is frozen."""
    tensors, _ = load_weights(path)
    return {name.removeprefix("mask."): t for name, t in tensors.items() if name.startswith("mask.")}


class FrozenWeights:
    """Keeps the masked weights of a model, as they are now, bit-identical through optimiser steps.

    A gradient of zero is not enough: Adam's momentum still moves the weight. So the gradients are zeroed,
    which lets the moments decay, and the weights get their values back after each step.
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]):
        """Freeze where ``masks`` (parameter name -> bool tensor of its shape) are True."""
        parameters = dict(model.named_parameters())
        self._frozen: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        for name, mask in masks.items():
            parameter = parameters.get(name)
            if parameter is None or mask.shape != parameter.shape:
                raise ValueError(f"the mask is of another network: {name} {tuple(mask.shape)} does not fit")
            if mask.any():
                mask = torch.empty_like(parameter, dtype=torch.bool).copy_(mask)
                self._frozen.append((parameter, mask, parameter.detach().clone()))

    def zero_gradients(self) -> None:
        """Zero the gradients of the frozen weights."""
        for parameter, mask, _ in self._frozen:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(mask, 0.0)

    @torch.no_grad()
    def restore_values(self) -> None:
        """Give the frozen weights their values back."""
        for parameter, mask, values in self._frozen:
            parameter.copy_(torch.where(mask, values, parameter))
